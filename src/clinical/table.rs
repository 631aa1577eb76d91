//! How the tables of codes are written down: each code once, with its constant and what it means.

/// Makes one constant per code, with a table of what they mean.
macro_rules! term_table {
    (prefix $prefix:literal;
     $($name:ident = ($partition:literal, $term:literal), $text:literal, $evidence:ident $($source:literal)?
       $(, unit::$unit:ident)? $(, loinc $mapping:ident $($mapped_by:literal)? [$($loinc:literal),+])?;)*) => {
        $(
            #[doc = concat!("`", $prefix, stringify!($name), "`, ", $partition, "::", $term, ": ", $text, ".")]
            $(#[doc = concat!("\n\nOne source only: ", $source, ".")])?
            $($(#[doc = concat!("\n\nLOINC codes after one source only: ", $mapped_by, ".")])?)?
            pub const $name: u32 = $crate::clinical::code($partition, $term);
        )*
        /// What the codes mean, in their order.
        pub(super) const TERMS: &[$crate::clinical::Term] = &[$(
            $crate::clinical::Term {
                code: $name,
                refid: concat!($prefix, stringify!($name)),
                name: $text,
                unit: 0 $(+ $crate::clinical::mdc::unit::$unit)?,
                loinc: &[$($($loinc),+)?],
                evidence: evidence!($evidence $($source)?),
                loinc_evidence: term_table!(@mapping $($mapping $($mapped_by)?)?),
            },
        )*];
    };
    (@mapping) => { $crate::clinical::Evidence::Confirmed };
    (@mapping $($evidence:tt)+) => { evidence!($($evidence)+) };
}

/// Makes one constant per unit, with a table of what they mean.
macro_rules! unit_table {
    ($($name:ident = ($partition:literal, $term:literal), $ucum:literal, $evidence:ident $($source:literal)?;)*) => {
        $(
            #[doc = concat!("`MDC_DIM_", stringify!($name), "`, ", $partition, "::", $term, ": UCUM `", $ucum, "`.")]
            $(#[doc = concat!("\n\nOne source only: ", $source, ".")])?
            pub const $name: u32 = $crate::clinical::code($partition, $term);
        )*
        /// What the codes mean, in their order.
        pub(in crate::clinical) const UNITS: &[$crate::clinical::Unit] = &[$(
            $crate::clinical::Unit {
                code: $name,
                refid: concat!("MDC_DIM_", stringify!($name)),
                ucum: $ucum,
                evidence: evidence!($evidence $($source)?),
            },
        )*];
    };
}

macro_rules! evidence {
    (confirmed) => {
        $crate::clinical::Evidence::Confirmed
    };
    (private) => {
        $crate::clinical::Evidence::Private
    };
    (one $source:literal) => {
        $crate::clinical::Evidence::OneSource($source)
    };
}

pub(super) use {evidence, term_table, unit_table};
