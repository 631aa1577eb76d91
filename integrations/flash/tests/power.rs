//! Power is cut at every write and every erase of long random runs.

mod common;

use common::{Oracle, PAGES, Random, Store, restart, store};
use vitalwire_flash::model::{Ecc, Nor};

/// Serves random requests. Returns the one during which power went, if it did.
fn run<const W: usize, const E: usize>(
    store: &mut Store<W, E>,
    oracle: &mut Oracle,
    random: &mut Random,
    requests: usize,
) -> Option<common::Request> {
    let mut buf = vec![0; E];
    for _ in 0..requests {
        let request = oracle.draw(random, E as u64 / 3);
        if !oracle.take(&request, store.serve_blocking(request.lend(), &mut buf)) {
            assert!(store.flash_mut().0.is_off(), "{request:?} has failed while power was on");
            return Some(request);
        }
    }
    None
}

/// Cuts at each operation of each request of a run, starts again, compares, goes on, cuts once more, and compares
/// again. Returns how many cuts there were.
fn cut_everywhere<const W: usize, const E: usize>(seed: u64, ecc: Ecc, requests: usize) -> u64 {
    println!("seed {seed}, {ecc:?}, words of {W}");
    let mut random = Random(seed);
    let (mut store, mut oracle) = (store(Nor::<W, E>::new(PAGES, seed).with_ecc(ecc)), Oracle::default());
    let mut cuts = 0;
    for _ in 0..requests {
        let request = oracle.draw(&mut random, E as u64 / 3);
        let (before, known) = (store.clone(), oracle.clone());
        let operations = store.flash_mut().0.operations;
        let mut buf = vec![0; E];
        assert!(oracle.take(&request, store.serve_blocking(request.lend(), &mut buf)), "{request:?}");
        for cut in 0..store.flash_mut().0.operations - operations {
            let (mut store, mut oracle) = (before.clone(), known.clone());
            store.flash_mut().0.reseed(seed ^ random.next());
            store.flash_mut().0.cut_after(cut);
            let done = oracle.take(&request, store.serve_blocking(request.lend(), &mut buf));
            assert!(store.flash_mut().0.is_off());
            let mut store = restart(store);
            oracle.settle(&mut store, Some(&request).filter(|_| !done));
            run(&mut store, &mut oracle, &mut random.clone(), 6);
            assert_eq!(store.flash_mut().0.second_writes, 0);
            store.flash_mut().0.cut_after(random.below(12));
            let doubt = run(&mut store, &mut oracle, &mut random.clone(), 6);
            let mut store = restart(store);
            oracle.settle(&mut store, doubt.as_ref());
            run(&mut store, &mut oracle, &mut random.clone(), 6);
            // A start without a cut changes nothing.
            let mut store = restart(store);
            oracle.settle(&mut store, None);
            cuts += 1;
        }
    }
    assert!(oracle.full > 0, "the run has filled no region");
    assert!(store.flash_mut().0.wear.iter().all(|wear| *wear > 1), "the run has not used every page twice");
    cuts
}

#[test]
fn words_of_4_bytes() {
    let cuts = cut_everywhere::<4, 512>(1, Ecc::No, 700);
    assert!(cuts > 500, "{cuts}");
}

#[test]
fn words_of_8_bytes_with_ecc() {
    cut_everywhere::<8, 512>(2, Ecc::Yes, 700);
}

#[test]
fn words_of_4_bytes_with_ecc() {
    cut_everywhere::<4, 1024>(3, Ecc::Yes, 700);
}

#[test]
fn words_of_8_bytes_that_cannot_be_read_when_cut() {
    cut_everywhere::<8, 512>(4, Ecc::UnreadableWhenCut, 700);
}

#[test]
fn words_of_1_and_32_bytes() {
    cut_everywhere::<1, 512>(5, Ecc::Yes, 400);
    cut_everywhere::<32, 2048>(6, Ecc::Yes, 700);
}

#[test]
fn pages_of_4096_bytes() {
    cut_everywhere::<8, 4096>(7, Ecc::Yes, 700);
}

/// More runs on demand: `SEEDS=1000 cargo test --release --test power more_seeds`.
#[test]
fn more_seeds() {
    let seeds = std::env::var("SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(2);
    for seed in 100..100 + seeds {
        cut_everywhere::<8, 512>(seed, Ecc::UnreadableWhenCut, 500);
        cut_everywhere::<4, 512>(seed, Ecc::No, 500);
    }
}
