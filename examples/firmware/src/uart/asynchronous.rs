//! The UART for an executor: the traits of `embedded-io-async`.

use super::{RX, TX, Uart};
use core::convert::Infallible;
use core::future::poll_fn;
use core::task::Poll;
use embassy_sync::waitqueue::AtomicWaker;
use embedded_io_async::{ErrorType, Read, Write};

/// Woken when a byte has come in.
pub(super) static RECEIVED: AtomicWaker = AtomicWaker::new();
/// Woken when one has gone out.
pub(super) static SENT: AtomicWaker = AtomicWaker::new();

impl ErrorType for Uart {
    type Error = Infallible;
}

impl Read for Uart {
    /// Waits for bytes. Dropping the future loses none.
    async fn read(&mut self, out: &mut [u8]) -> Result<usize, Infallible> {
        poll_fn(|context| {
            RECEIVED.register(context.waker());
            if RX.is_empty() && !out.is_empty() { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
        Ok(Uart::read(self, out).len())
    }
}

impl Write for Uart {
    /// Waits for room, and takes what fits.
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        let room = poll_fn(|context| {
            SENT.register(context.waker());
            match TX.room() {
                0 if !bytes.is_empty() => Poll::Pending,
                room => Poll::Ready(room),
            }
        })
        .await;
        let len = room.min(bytes.len());
        Uart::write(self, &bytes[..len]);
        Ok(len)
    }

    async fn flush(&mut self) -> Result<(), Infallible> {
        poll_fn(|context| {
            SENT.register(context.waker());
            if self.is_flushed() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        Ok(())
    }
}
