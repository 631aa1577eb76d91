use super::FhirError;
use super::types::{Identifier, Reference};
use core::fmt;

/// A name for a patient that says nothing about the patient: a UUID, or 16 to 64 hexadecimal digits.
///
/// The patient's identity is never on vitalwire's wire; who has it is up to the application, behind this pseudonym.
/// What a person could read or guess is refused: names, birthdays, short record numbers.
///
/// ```
/// use vitalwire::interop::fhir::Pseudonym;
/// assert!(Pseudonym::new("6f1c2b3a-9d4e-4f50-8a61-7b2c3d4e5f60").is_ok());
/// assert!(Pseudonym::new("9d4e4f508a617b2c").is_ok());
/// assert!(Pseudonym::new("Jane Doe").is_err());
/// assert!(Pseudonym::new("0815").is_err());
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Pseudonym(String);

impl Pseudonym {
    /// Takes a UUID, or 16 to 64 hexadecimal digits.
    ///
    /// # Errors
    /// [`FhirError::Pseudonym`] for anything else.
    pub fn new(text: &str) -> Result<Self, FhirError> {
        let hex = |part: &str| part.bytes().all(|byte| byte.is_ascii_hexdigit());
        let uuid = text.split('-').map(str::len).eq([8, 4, 4, 4, 12]) && text.split('-').all(hex);
        let digits = (16..=64).contains(&text.len()) && hex(text);
        if uuid || digits { Ok(Self(text.to_ascii_lowercase())) } else { Err(FhirError::Pseudonym) }
    }

    /// Returns the text, in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Pseudonym {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pseudonym(..)")
    }
}

/// Whom the records are about: how the receiver knows the pseudonym.
///
/// ```
/// use vitalwire::interop::fhir::{Pseudonym, Subject};
/// let pseudonym = Pseudonym::new("9d4e4f508a617b2c")?;
/// let known = Subject::patient(pseudonym.clone()); // the server's Patient/9d4e4f508a617b2c
/// let other = Subject::identifier("urn:oid:2.999.1", pseudonym)?; // some Patient with this identifier
/// assert_ne!(known, other);
/// # Ok::<(), vitalwire::interop::fhir::FhirError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Subject {
    system: Option<String>,
    pseudonym: Pseudonym,
}

impl Subject {
    /// Refers to the Patient whose id on the server is the pseudonym.
    pub const fn patient(pseudonym: Pseudonym) -> Self {
        Self { system: None, pseudonym }
    }

    /// Refers to a Patient that has the pseudonym as an identifier in a system.
    ///
    /// # Errors
    /// [`FhirError::Uri`] if the system is not a URI.
    pub fn identifier(system: &str, pseudonym: Pseudonym) -> Result<Self, FhirError> {
        let graphic = system.bytes().all(|byte| byte.is_ascii_graphic() && !br#""<>\^`{|}"#.contains(&byte));
        let scheme = system.split_once(':').is_some_and(|(scheme, rest)| {
            let mut bytes = scheme.bytes();
            bytes.next().is_some_and(|first| first.is_ascii_alphabetic())
                && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
                && !rest.is_empty()
        });
        if !graphic || !scheme {
            return Err(FhirError::Uri);
        }
        Ok(Self { system: Some(system.to_owned()), pseudonym })
    }

    pub(super) fn reference(&self) -> Reference {
        let name = self.pseudonym.as_str();
        let kind = Some("Patient".to_owned());
        match &self.system {
            None => Reference { reference: Some(format!("Patient/{name}")), kind, identifier: None },
            Some(system) => {
                let identifier = Identifier { system: Some(system.clone()), value: Some(name.to_owned()) };
                Reference { reference: None, kind, identifier: Some(identifier) }
            }
        }
    }
}
