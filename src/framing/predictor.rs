/// How many predictors there are.
pub(super) const PREDICTORS: u8 = 14;

/// The weights of the last three differences, in eighths, of predictor 1, 2 and so on; predictor 0 predicts zero.
///
/// The first three extrapolate a polynomial of degree 0, 1 and 2 (1 is the last value, 2 the line, 3 the parabola). The
/// others are damped, for signals with noise and for those that swing; `benches/figures` prints what blocks take.
const WEIGHTS: [[i8; 3]; PREDICTORS as usize - 1] = [
    [0, 0, 0],
    [8, 0, 0],
    [16, -8, 0],
    [12, -6, 0],
    [8, -2, 0],
    [15, -10, 2],
    [9, 0, -2],
    [2, -2, 0],
    [8, -4, 0],
    [6, -2, 0],
    [10, -8, 2],
    [17, -14, 4],
    [4, 4, 0],
];

/// How many numbers of a series an estimate looks at, at least, if there are as many.
const SAMPLED: usize = 64;

/// Predicts a number from up to four before it, modulo 2^32.
#[derive(Clone, Copy, Debug)]
pub(super) struct Predictor {
    /// `None`: always zero.
    weights: Option<[i8; 3]>,
    last: i32,
    /// The last three differences, the newest first; zero where there is none yet.
    differences: [i32; 3],
}

impl Predictor {
    /// Starts predictor `number` with the first number of a series.
    pub(super) fn new(number: u8, first: i32) -> Self {
        let weights = number.checked_sub(1).and_then(|index| WEIGHTS.get(usize::from(index))).copied();
        Self { weights, last: first, differences: [0; 3] }
    }

    /// Returns the prediction: the last number, and the weighted differences rounded to the nearest.
    pub(super) fn predict(&self) -> i32 {
        self.weights.map_or(0, |weights| self.predict_by(weights))
    }

    fn predict_by(&self, [a, b, c]: [i8; 3]) -> i32 {
        let [first, second, third] = self.differences;
        // |sum| < 2^31 · 41 + 4
        let product = |weight: i8, difference: i32| i64::from(weight).wrapping_mul(difference.into());
        let sum = product(a, first)
            .wrapping_add(product(b, second))
            .wrapping_add(product(c, third))
            .wrapping_add(4);
        self.last.wrapping_add(sum.wrapping_shr(3) as i32)
    }

    pub(super) const fn update(&mut self, value: i32) {
        let [first, second, _] = self.differences;
        self.differences = [value.wrapping_sub(self.last), first, second];
        self.last = value;
    }

    /// Returns what remains of `value` after prediction, folded, and goes on.
    pub(super) fn remainder(&mut self, value: i32) -> u32 {
        let remainder = fold(value.wrapping_sub(self.predict()));
        self.update(value);
        remainder
    }

    /// Returns the value of which `remainder` remained, and goes on.
    pub(super) fn value(&mut self, remainder: u32) -> i32 {
        let value = self.predict().wrapping_add(unfold(remainder));
        self.update(value);
        value
    }
}

/// Estimates for each predictor how many bits a series of `count` numbers takes: the widths of what remains of every
/// n-th of them, summed up.
pub(super) fn estimates(mut values: impl Iterator<Item = i32>, count: usize) -> [u32; PREDICTORS as usize] {
    let mut sums = [0u32; PREDICTORS as usize];
    let Some(first) = values.next() else { return sums };
    let mut history = Predictor::new(0, first);
    let width = |remainder: i32| 32u32.wrapping_sub(fold(remainder).leading_zeros());
    let step = count.checked_div(SAMPLED).unwrap_or(0).max(1);
    let mut wait = 1usize;
    for value in values {
        wait = wait.wrapping_sub(1);
        if wait == 0 {
            wait = step;
            let [zero, others @ ..] = &mut sums;
            *zero = zero.wrapping_add(width(value));
            for (sum, weights) in others.iter_mut().zip(WEIGHTS) {
                *sum = sum.wrapping_add(width(value.wrapping_sub(history.predict_by(weights))));
            }
        }
        history.update(value);
    }
    sums
}

/// Maps a signed remainder to an unsigned one: 0, −1, 1, −2 → 0, 1, 2, 3.
const fn fold(value: i32) -> u32 {
    (value.wrapping_shl(1) ^ value.wrapping_shr(31)) as u32
}

const fn unfold(value: u32) -> i32 {
    (value.wrapping_shr(1) ^ (value & 1).wrapping_neg()) as i32
}
