//! Futures that are dropped half-way, as a firmware's `select` does.

mod common;

use common::{Oracle, PAGES, Random, layout};
use core::future::poll_fn;
use core::pin::pin;
use core::task::{Context, Poll, Waker};
use embedded_storage_async::nor_flash::{ErrorType, NorFlash, ReadNorFlash};
use vitalwire_flash::model::{Ecc, Nor};
use vitalwire_flash::{Blocking, FlashStore};

/// Waits once before and once after each operation.
#[derive(Clone)]
struct Slow(Blocking<Nor<8, 512>>);

async fn wait() {
    let mut waited = false;
    poll_fn(|_| if core::mem::replace(&mut waited, true) { Poll::Ready(()) } else { Poll::Pending }).await;
}

impl ErrorType for Slow {
    type Error = <Blocking<Nor<8, 512>> as ErrorType>::Error;
}

impl ReadNorFlash for Slow {
    const READ_SIZE: usize = 4;

    async fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Self::Error> {
        self.0.read(offset, bytes).await
    }

    fn capacity(&self) -> usize {
        self.0.capacity()
    }
}

impl NorFlash for Slow {
    const WRITE_SIZE: usize = 8;
    const ERASE_SIZE: usize = 512;

    async fn erase(&mut self, from: u32, to: u32) -> Result<(), Self::Error> {
        wait().await;
        let done = self.0.erase(from, to).await;
        wait().await;
        done
    }

    async fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error> {
        wait().await;
        let done = self.0.write(offset, bytes).await;
        wait().await;
        done
    }
}

#[test]
fn a_dropped_request_is_done_or_not() {
    let flash = Nor::<8, 512>::new(PAGES, 1).with_ecc(Ecc::Yes);
    let mut store = FlashStore::new(Slow(Blocking(flash)), layout(512)).unwrap();
    let (mut oracle, mut random, mut dropped) = (Oracle::default(), Random(1), 0);
    for _ in 0..3000 {
        let request = oracle.draw(&mut random, 170);
        let polls = random.below(40);
        let mut buf = [0; 512];
        let mut done = false;
        {
            let mut future = pin!(store.serve(request.lend(), &mut buf));
            for _ in 0..polls {
                if let Poll::Ready(reply) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                    done = oracle.take(&request, reply);
                    assert!(done, "{request:?}");
                    break;
                }
            }
        }
        if !done {
            dropped += 1;
            let flash = store.clone().into_inner().0;
            // Read by another store: the one that was asked must find the same by itself.
            oracle.settle(&mut FlashStore::new(flash, layout(512)).unwrap(), Some(&request));
        }
    }
    assert!(dropped > 100 && oracle.full > 0, "{dropped}");
}
