use serde::{Deserialize, Serialize};

use crate::framing::{Absence, Decimal, Quality, Value};

mod sealed {
    pub trait Sealed {}
}

/// A number with a fixed count of decimals, so that a value of another scale does not compile: whole ones are `i32`.
///
/// ```
/// use vitalwire::clinical::{Hundredths, Scaled};
/// assert_eq!(Hundredths(3684).decimal().to_string(), "36.84");
/// assert_eq!(72.decimal().to_string(), "72");
/// ```
pub trait Scaled: Copy + sealed::Sealed {
    /// The power of ten of one step.
    const EXPONENT: i8;

    /// Takes the number of steps.
    fn from_raw(raw: i32) -> Self;

    /// Returns the number of steps.
    fn raw(self) -> i32;

    /// Returns the number.
    fn decimal(self) -> Decimal {
        Decimal::new(self.raw(), Self::EXPONENT)
    }
}

impl sealed::Sealed for i32 {}

impl Scaled for i32 {
    const EXPONENT: i8 = 0;

    fn from_raw(raw: i32) -> Self {
        raw
    }

    fn raw(self) -> i32 {
        self
    }
}

macro_rules! scaled {
    ($($(#[$doc:meta])* $name:ident: $exponent:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub i32);

        impl sealed::Sealed for $name {}

        impl Scaled for $name {
            const EXPONENT: i8 = $exponent;

            fn from_raw(raw: i32) -> Self {
                Self(raw)
            }

            fn raw(self) -> i32 {
                self.0
            }
        }
    )*};
}

scaled! {
    /// A number in hundredths: `Hundredths(3684)` is 36.84. Example at [`Scaled`].
    Hundredths: -2;
    /// A number in thousandths: `Thousandths(1500)` is 1.5. Example at [`Scaled`].
    Thousandths: -3;
    /// A number in ten-millionths, for degrees of latitude and longitude: about a centimetre. Example at [`Scaled`].
    TenMillionths: -7;
}

/// What stands for one component: a number that has to be there, or one that may be missing.
pub(super) trait Field: Copy {
    const EXPONENT: i8;
    fn value(self) -> Value;
    fn from_value(value: Value) -> Option<Self>;
}

impl<T: Scaled> Field for T {
    const EXPONENT: i8 = T::EXPONENT;

    fn value(self) -> Value {
        Value::Present(self.raw(), Quality::Valid)
    }

    fn from_value(value: Value) -> Option<Self> {
        value.valid().map(Self::from_raw)
    }
}

impl<T: Scaled> Field for Option<T> {
    const EXPONENT: i8 = T::EXPONENT;

    fn value(self) -> Value {
        self.map_or(Value::Absent(Absence::NotMeasured), Field::value)
    }

    fn from_value(value: Value) -> Option<Self> {
        Some(value.valid().map(T::from_raw))
    }
}
