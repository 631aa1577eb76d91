use super::{mdc, private};

/// How well a code is known.
///
/// ISO/IEEE 11073-10101 is sold, not published, so the codes here come from material that prints them: open-source
/// nomenclatures, profiles of HL7 and Bluetooth, recorded messages. `data/mdc_codes.csv` says which for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Evidence {
    /// Two independent sources or more print it, or the body that owns the code.
    Confirmed,
    /// One source only, which is named. Check it against the standard before you rely on it.
    OneSource(&'static str),
    /// One of this protocol's own codes: SPEC.md, "Codes".
    Private,
}

/// What a code of a quantity, an event or a body site means.
///
/// ```
/// use vitalwire::clinical::{Evidence, mdc, term};
/// let term = term(147_842).unwrap();
/// assert_eq!(term.code, mdc::ECG_HEART_RATE);
/// assert_eq!((term.refid, term.name), ("MDC_ECG_HEART_RATE", "heart rate, from the ECG"));
/// assert_eq!((term.unit, term.loinc), (mdc::unit::BEAT_PER_MIN, &["8867-4"][..]));
/// assert_eq!(term.evidence, Evidence::Confirmed);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Term {
    /// The code: partition · 65536 + term.
    pub code: u32,
    /// Its reference identifier: `MDC_…` of ISO/IEEE 11073-10101, `VW_…` of SPEC.md.
    pub refid: &'static str,
    /// What it is, in English.
    pub name: &'static str,
    /// The code of its usual unit, 0 if it has none.
    pub unit: u32,
    /// The LOINC codes that mean the same, the most common one first.
    pub loinc: &'static [&'static str],
    /// How well the code is known.
    pub evidence: Evidence,
    /// How well it is known that the LOINC codes mean the same; says nothing if there are none.
    pub loinc_evidence: Evidence,
}

/// What a code of a unit means.
///
/// ```
/// use vitalwire::clinical::{mdc, unit};
/// let unit = unit(mdc::unit::MMHG).unwrap();
/// assert_eq!((unit.refid, unit.ucum), ("MDC_DIM_MMHG", "mm[Hg]"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unit {
    /// The code: partition · 65536 + term.
    pub code: u32,
    /// Its reference identifier in ISO/IEEE 11073-10101: `MDC_DIM_…`.
    pub refid: &'static str,
    /// The same unit in UCUM, case sensitive.
    pub ucum: &'static str,
    /// How well the code is known.
    pub evidence: Evidence,
}

/// Computes the code of a term of a partition: partition · 65536 + term.
///
/// ```
/// use vitalwire::clinical::{code, mdc};
/// assert_eq!(code(2, 16_770), mdc::ECG_HEART_RATE);
/// ```
pub const fn code(partition: u16, term: u16) -> u32 {
    (partition as u32) << 16 | term as u32
}

/// Finds what a code means, if it is one of those in [`mdc`] or [`private`].
///
/// ```
/// use vitalwire::clinical::{private, term};
/// assert_eq!(term(private::STEP_COUNT).unwrap().refid, "VW_STEP_COUNT");
/// assert_eq!(term(0), None);
/// ```
pub fn term(code: u32) -> Option<&'static Term> {
    let table = if code >> 16 == u32::from(private::PARTITION) { private::TERMS } else { mdc::TERMS };
    table.get(table.binary_search_by_key(&code, |term| term.code).ok()?)
}

/// Finds what the code of a unit means, if it is one of those in [`mdc::unit`].
///
/// ```
/// assert_eq!(vitalwire::clinical::unit(268_192).unwrap().ucum, "Cel");
/// ```
pub fn unit(code: u32) -> Option<&'static Unit> {
    let table = mdc::unit::UNITS;
    table.get(table.binary_search_by_key(&code, |unit| unit.code).ok()?)
}

/// Lists all terms, in the order of their codes.
///
/// ```
/// use vitalwire::clinical::{Evidence, terms};
/// let doubtful = terms().filter(|term| matches!(term.evidence, Evidence::OneSource(_)));
/// assert!(doubtful.count() < terms().count() / 3);
/// ```
pub fn terms() -> impl Iterator<Item = &'static Term> {
    mdc::TERMS.iter().chain(private::TERMS)
}

/// Lists all units, in the order of their codes.
///
/// ```
/// use vitalwire::clinical::units;
/// assert!(units().any(|unit| unit.ucum == "mm[Hg]"));
/// ```
pub fn units() -> impl Iterator<Item = &'static Unit> {
    mdc::unit::UNITS.iter()
}
