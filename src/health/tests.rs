use super::cutoffs::{FALSE_ALARM_LOG2, proportion_cutoff, repetition_cutoff};
use super::*;
use std::vec::Vec;

/// Gives what a closure gives.
struct Samples<F>(F);

impl<F: FnMut() -> Result<u32, EntropyError>> NoiseSource for Samples<F> {
    fn sample(&mut self) -> Result<u32, EntropyError> {
        (self.0)()
    }
}

/// xorshift64*: any old generator will do where nothing is secret, and the same numbers come in each run.
fn noise(mut state: u64) -> impl FnMut() -> u32 {
    move || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32) as u32
    }
}

fn limits(sample_bits: u8, millibits: u16) -> HealthLimits {
    HealthLimits::new(sample_bits, millibits).unwrap()
}

/// The logarithms of 0! to 1024!.
fn log_factorials() -> Vec<f64> {
    let logs = (1..=1024u32).scan(0.0, |sum, n| {
        *sum += f64::from(n).ln();
        Some(*sum)
    });
    std::iter::once(0.0).chain(logs).collect()
}

/// P(X > number) for X binomial over `window` with p = 2^-H: by logarithms, term by term, smallest first.
fn exceeds(logs: &[f64], window: usize, millibits: u16, number: usize) -> f64 {
    let log_p = -f64::from(millibits) / 1000.0 * std::f64::consts::LN_2;
    let log_q = (-log_p.exp()).ln_1p();
    let term = |k: usize| {
        let (k_f, rest) = (k as f64, (window - k) as f64);
        (logs[window] - logs[k] - logs[window - k] + k_f * log_p + rest * log_q).exp()
    };
    (number + 1..=window).rev().map(term).sum()
}

/// SP 800-90B, section 4.4.1 (its example: H = 2 and α = 2^-20 give 11) and the table in section 4.4.2, for α = 2^-20.
#[test]
fn cutoffs_are_those_that_the_standard_prints() {
    assert_eq!(repetition_cutoff(2_000, 20), 11);
    let binary = [(200, 941), (400, 840), (600, 748), (800, 664), (1_000, 589)];
    let others = [(500, 410), (1_000, 311), (2_000, 177), (4_000, 62), (8_000, 13)];
    for (window, table) in [(1024, binary), (512, others)] {
        for (millibits, cutoff) in table {
            assert_eq!(proportion_cutoff(window, millibits, 20), cutoff, "{window} samples of {millibits}");
        }
    }
}

#[test]
fn false_alarms_are_as_rare_as_stated_and_cutoffs_no_higher_than_that_needs() {
    let logs = log_factorials();
    let alpha = (-f64::from(FALSE_ALARM_LOG2)).exp2();
    for (sample_bits, window) in [(1u8, 1024), (32, 512)] {
        for millibits in (100..=u16::from(sample_bits) * 1000).step_by(25) {
            let limits = limits(sample_bits, millibits);
            assert_eq!(usize::from(limits.window()), window);
            // Both are one above what a healthy source exceeds with a probability of at most α.
            let in_window = usize::from(limits.in_window()) - 1;
            let above = exceeds(&logs, window, millibits, in_window);
            assert!(above <= alpha * (1.0 + 1e-9), "{millibits}: {above}");
            if in_window > 0 {
                let one_less = exceeds(&logs, window, millibits, in_window - 1);
                assert!(one_less > alpha * (1.0 - 1e-9), "{millibits}: {one_less}");
            }
            let h = f64::from(millibits) / 1000.0;
            let in_a_row = f64::from(limits.repetitions()) - 1.0;
            assert!((-h * in_a_row).exp2() <= alpha && (-h * (in_a_row - 1.0)).exp2() > alpha, "{millibits}");
        }
    }
}

#[test]
fn each_block_takes_in_320_bits_of_assessed_entropy() {
    for millibits in [100, 101, 999, 1_000, 7_999, 32_000] {
        let samples = u32::from(limits(32, millibits).samples_per_block());
        let per_sample = u32::from(millibits);
        assert!(samples * per_sample >= 320_000 && (samples - 1) * per_sample < 320_000, "{millibits}");
    }
}

#[test]
fn an_assessment_out_of_range_is_refused() {
    for (bits, millibits) in [(0, 100), (33, 100), (8, 99), (8, 8_001), (1, 1_001)] {
        assert!(HealthLimits::new(bits, millibits).is_err(), "{bits} bits, {millibits}");
    }
    for (bits, millibits) in [(1, 100), (1, 1_000), (8, 8_000), (32, 32_000)] {
        assert!(HealthLimits::new(bits, millibits).is_ok(), "{bits} bits, {millibits}");
    }
}

#[test]
fn nothing_is_given_out_before_1024_samples_have_passed() {
    let (mut drawn, mut next) = (0, noise(1));
    let source = Samples(|| {
        drawn += 1;
        Ok(next())
    });
    let mut rng = HealthTested::new(source, limits(32, 8_000));
    assert!(!rng.is_ready());
    rng.start_up().unwrap();
    assert!(rng.is_ready());
    rng.start_up().unwrap();
    rng.fill(&mut [0; 33]).unwrap();
    drop(rng);
    assert_eq!(drawn, 1024 + 2 * 40);
}

#[test]
fn a_fill_runs_the_start_up_test_that_nobody_has_run() {
    let mut next = noise(1);
    let mut left = 1023;
    let source = Samples(|| {
        left -= 1;
        if left < 0 { Ok(7) } else { Ok(next()) }
    });
    let mut rng = HealthTested::new(source, limits(32, 8_000));
    assert_eq!(rng.fill(&mut [0; 1]), Err(EntropyError));
    assert_eq!(rng.failure(), Some(HealthError::Stuck));
}

#[test]
fn a_stuck_source_fails_at_the_cutoff_and_for_good() {
    let limits = limits(8, 4_000);
    let (mut next, mut drawn) = (noise(3), 0u32);
    let source = Samples(|| {
        drawn += 1;
        // Stuck once the start-up is over, and healthy again later: too late.
        Ok(if (1025..1100).contains(&drawn) { 0x5A } else { next() })
    });
    let mut rng = HealthTested::new(source, limits);
    rng.start_up().unwrap();
    let mut out = [0xEE; 32];
    assert_eq!(rng.fill(&mut out), Err(EntropyError));
    assert_eq!(out, [0; 32], "nothing of a failed call is left");
    assert_eq!(rng.failure(), Some(HealthError::Stuck));
    assert!(!rng.is_ready(), "the start-up test has passed, but what has failed since counts");
    for _ in 0..200 {
        assert_eq!(rng.fill(&mut out), Err(EntropyError));
    }
    assert_eq!(rng.start_up().and_then(|()| rng.fill(&mut out)), Err(EntropyError));
    drop(rng);
    let cutoff = u32::from(limits.repetitions());
    assert_eq!(drawn, 1024 + cutoff, "the source is not asked again");
}

#[test]
fn what_a_failed_call_made_before_it_failed_is_wiped_too() {
    let (mut next, mut drawn) = (noise(3), 0u32);
    let source = Samples(|| {
        drawn += 1;
        // Good for the start-up and one block of 80 samples, and stuck in the second one.
        Ok(if drawn > 1024 + 100 { 0x5A } else { next() })
    });
    let mut rng = HealthTested::new(source, limits(8, 4_000));
    let mut out = [0xEE; 80];
    assert_eq!(rng.fill(&mut out), Err(EntropyError));
    assert_eq!(out, [0; 80]);
}

#[test]
fn repetitions_are_counted_to_the_cutoff_and_start_anew_with_another_sample() {
    let mut test = Repetition { last: 0, count: 0 };
    assert_eq!([0, 0, 0, 9, 9, 0].map(|sample| test.count(sample)), [1, 2, 3, 1, 2, 1]);
    let mut test = Proportion { first: 0, seen: 0, count: 0 };
    assert_eq!([5, 6, 5, 7, 7, 7, 5, 7].map(|sample| test.count(sample, 4)), [1, 1, 2, 2, 1, 2, 2, 3]);
}

#[test]
fn a_word_that_alternates_with_another_fails() {
    let mut turn = 0u32;
    let source = Samples(|| {
        turn += 1;
        Ok(0x1234_5678 + turn % 2)
    });
    let mut rng = HealthTested::new(source, limits(32, 4_000));
    assert_eq!(rng.start_up(), Err(EntropyError));
    assert_eq!(rng.failure(), Some(HealthError::Biased));
}

#[test]
fn a_biased_source_fails_and_one_as_good_as_assessed_does_not() {
    // Bytes with 4 bits of min-entropy: 16 values. The biased one gives one of them in a quarter of all cases.
    let run = |biased: bool, samples: u32| {
        let mut next = noise(5);
        let source = Samples(|| {
            let drawn = next();
            Ok(if biased && drawn >> 30 == 0 { 3 } else { drawn & 15 })
        });
        let mut rng = HealthTested::new(source, limits(8, 4_000));
        (0..samples).try_for_each(|_| rng.tested().map(drop)).map_err(|_| rng.failure())
    };
    assert_eq!(run(false, 1_000_000), Ok(()));
    assert_eq!(run(true, 20_000), Err(Some(HealthError::Biased)));
}

#[test]
fn only_the_bits_of_a_sample_count() {
    // The upper bits hide that the lowest one is stuck.
    let mut next = noise(7);
    let mut rng = HealthTested::new(Samples(|| Ok(next() & !1)), limits(1, 500));
    assert_eq!(rng.start_up(), Err(EntropyError));
    assert_eq!(rng.failure(), Some(HealthError::Stuck));
}

#[test]
fn a_source_that_is_not_ready_yet_may_be_later() {
    let (mut next, mut calls) = (noise(9), 0);
    let source = Samples(|| {
        calls += 1;
        if calls % 1000 == 0 { Err(EntropyError) } else { Ok(next()) }
    });
    let mut rng = HealthTested::new(source, limits(32, 32_000));
    assert_eq!(rng.start_up(), Err(EntropyError));
    assert_eq!(rng.failure(), None);
    rng.start_up().unwrap();
    rng.fill(&mut [0; 32]).unwrap();
}

#[test]
fn blocks_differ_also_where_samples_repeat() {
    // A source that repeats a long period passes the tests; the state still moves on.
    let mut turn = 0u32;
    let source = Samples(|| {
        turn = (turn + 1) % 40;
        Ok(turn)
    });
    let mut rng = HealthTested::new(source, limits(32, 1_000));
    let mut out = [0; 64];
    rng.fill(&mut out).unwrap();
    assert_ne!(out[..32], out[32..]);
    let mut next = [0; 32];
    rng.fill(&mut next).unwrap();
    assert!(out.chunks(32).all(|block| block != next));
    let again = hash_parts(&[b"vitalwire noise out", &*rng.state]);
    assert_ne!(again, next, "who reads the state learns nothing of what was given out");
}
