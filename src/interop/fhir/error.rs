use crate::framing::EncodeError;

/// Why a record has no FHIR form, or a resource no record.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FhirError {
    /// The text is no JSON, or not of the resource that was asked for.
    #[error("no such resource: {0}")]
    Json(#[from] serde_json::Error),
    /// A number is no JSON number, or does not fit 64 bits with an exponent of 8.
    #[error("not a number, or out of range")]
    Number,
    /// The descriptor set does not have this channel.
    #[error("the descriptor set does not have channel {0}")]
    UnknownChannel(u8),
    /// The record does not fit the kind, the components or the rate of its channel.
    #[error("the record does not fit its channel")]
    WrongKind,
    /// Records of this kind have no FHIR form.
    #[error("records of this kind have no FHIR form")]
    NoForm,
    /// A time is outside the years 1970 to 9999.
    #[error("a time is outside the years 1970 to 9999")]
    Time,
    /// A pseudonym looks like something that somebody could read.
    #[error("a pseudonym is a UUID, or 16 to 64 hexadecimal digits")]
    Pseudonym,
    /// A URI is empty, or holds a character that may not stand in it.
    #[error("not a URI")]
    Uri,
    /// An element is not there.
    #[error("the element {0} is missing")]
    Missing(&'static str),
    /// An element is not as this library writes it.
    #[error("the element {0} is not as vitalwire writes it")]
    Unexpected(&'static str),
    /// No channel of the descriptor set has this code.
    #[error("no channel of the descriptor set has this code, site and kind")]
    NoChannel,
    /// More than one channel of the descriptor set has this code, and the resource does not say which.
    #[error("more than one channel of the descriptor set has this code, site and kind")]
    Ambiguous,
    /// A quantity has another unit than the channel.
    #[error("a quantity has another unit than its channel")]
    Unit,
    /// A quantity is no integer in the scale of the channel, or one of more than 32 bits.
    #[error("a quantity is no 32-bit integer in the scale of its channel")]
    Scale,
}

impl From<EncodeError> for FhirError {
    fn from(_: EncodeError) -> Self {
        Self::WrongKind
    }
}
