//! Texts: scopes, dates, hex, and what a file says.

use super::args::Failure;
use std::ops::RangeInclusive;
use vitalwire::UnixSeconds;
use vitalwire::codec::Reader;
use vitalwire::identity::*;

const NAMES: [(&str, Scopes); 7] = [
    ("publish", Scopes::PUBLISH),
    ("measurements", Scopes::MEASUREMENTS),
    ("waveforms", Scopes::WAVEFORMS),
    ("events", Scopes::EVENTS),
    ("alarms", Scopes::ALARMS),
    ("commands", Scopes::COMMANDS),
    ("configuration", Scopes::CONFIGURATION),
];

pub fn scopes(text: &str) -> Result<Scopes, Failure> {
    if text == "none" {
        return Ok(Scopes::NONE);
    }
    text.split(',').try_fold(Scopes::NONE, |scopes, name| {
        let known = NAMES.iter().find(|(known, _)| *known == name);
        let (_, scope) = known.ok_or_else(|| Failure::Usage(format!("there is no scope `{name}`")))?;
        Ok(scopes | *scope)
    })
}

pub fn scope_names(scopes: Scopes) -> String {
    let (mut left, mut names) = (scopes, Vec::new());
    for (name, scope) in NAMES {
        if left.contains(scope) {
            names.push(name.to_owned());
            left = Scopes::from_bits(left.bits() & !scope.bits());
        }
    }
    if left != Scopes::NONE {
        names.push(format!("unknown bits {:#x}", left.bits()));
    }
    if names.is_empty() { "none".into() } else { names.join(",") }
}

/// Reads `7` or `7-12`.
pub fn run(text: &str) -> Result<RangeInclusive<u32>, Failure> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.parse(), last.parse()) {
        (Ok(first), Ok(last)) if first <= last => Ok(first..=last),
        _ => Err(Failure::Usage(format!("--serial takes a number, or two with a `-` between, not `{text}`"))),
    }
}

pub fn unhex<const N: usize>(text: &str, what: &str) -> Result<[u8; N], Failure> {
    let mut bytes = [0; N];
    let digits = text.as_bytes();
    let good = digits.len() == 2 * N && digits.iter().all(u8::is_ascii_hexdigit);
    if !good {
        return Err(Failure::Usage(format!("{what} takes {N} bytes in hex, not `{text}`")));
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte =
            std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok()).unwrap_or(0);
    }
    Ok(bytes)
}

/// Year, month and day in UTC, and the number (Howard Hinnant, "chrono-compatible low-level date algorithms").
pub fn date(time: UnixSeconds) -> String {
    let days = time.0 / 86_400 + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day_of_month:02} ({})", time.0)
}

/// A credential's fields, read again from its bytes: the library hands them out verified only.
struct Fields {
    issuer: IssuerId,
    serial: u32,
    subject: SubjectId,
    role: u8,
    scopes: Scopes,
    times: [UnixSeconds; 3],
}

fn fields(bytes: &[u8]) -> Option<Fields> {
    let mut reader = Reader::new(bytes);
    reader.u8().ok()?;
    Some(Fields {
        issuer: IssuerId(reader.array().ok()?),
        serial: reader.varint_as().ok()?,
        subject: SubjectId(reader.array().ok()?),
        role: reader.u8().ok()?,
        scopes: Scopes::from_bits(reader.varint_as().ok()?),
        times: [(); 3].map(|()| UnixSeconds(reader.varint().unwrap_or(0))),
    })
}

/// Says why a credential or certificate was refused, with what it claims.
pub fn why_not(error: CredentialError, bytes: &[u8], now: UnixSeconds) -> String {
    let certificate = Intermediate::from_bytes(bytes).ok();
    let claims = certificate.as_ref().map(Intermediate::claims);
    let claimed = claims.map(|claims| (claims.not_before, claims.not_after));
    let fields = fields(bytes).filter(|_| claimed.is_none());
    let claimed = claimed.or(fields.as_ref().map(|fields| (fields.times[1], fields.times[2])));
    let issuer = certificate.as_ref().map(Intermediate::issuer).or(fields.map(|fields| fields.issuer));
    match (error, issuer, claimed) {
        (CredentialError::UnknownIssuer, Some(issuer), _) => {
            format!("{error} {issuer}: it is no authority that is trusted here")
        }
        (CredentialError::BadSignature, ..) if certificate.is_none() => {
            format!("{error}: it was altered, or is for another key than the one of --key")
        }
        (CredentialError::Expired, _, Some((_, until))) => {
            format!("{error}: good until {}, and it is {}", date(until), date(now))
        }
        (CredentialError::NotYetValid, _, Some((from, _))) => {
            format!("{error}: good from {}, and it is {}", date(from), date(now))
        }
        _ => error.to_string(),
    }
}

pub fn claimed_role(bytes: &[u8]) -> Role {
    fields(bytes).and_then(|fields| Role::from_code(fields.role)).unwrap_or(Role::Device)
}

pub fn credential(credential: &Credential) -> String {
    let Some(Fields { issuer, serial, subject, times: [issued, from, until], scopes, .. }) =
        fields(credential.as_bytes())
    else {
        return String::new();
    };
    let role = claimed_role(credential.as_bytes());
    format!(
        "credential  {role:?}\n  issuer      {issuer}\n  serial      {serial}\n  subject     {subject}\n  scopes      {}\n  \
         issued      {}\n  not before  {}\n  not after   {}\n",
        scope_names(scopes),
        date(issued),
        date(from),
        date(until)
    )
}

pub fn certificate(certificate: &Intermediate) -> String {
    let IntermediateRequest { serial, roles, scopes, issued, not_before, not_after } = certificate.claims();
    let roles = match roles {
        Roles::DEVICES => "devices",
        Roles::BACKENDS => "backends",
        _ => "both",
    };
    format!(
        "certificate of authority {}\n  issuer      {}\n  serial      {serial}\n  roles       {roles}\n  scopes      {}\n  \
         issued      {}\n  not before  {}\n  not after   {}\n",
        IssuerId::of(&certificate.key()),
        certificate.issuer(),
        scope_names(scopes),
        date(issued),
        date(not_before),
        date(not_after)
    )
}

/// One serial, or the first and the last.
pub fn run_text(run: &RangeInclusive<u32>) -> String {
    match run.start() == run.end() {
        true => run.start().to_string(),
        false => format!("{}-{}", run.start(), run.end()),
    }
}

fn runs(runs: SerialRuns<'_>) -> String {
    if runs.count() == 0 {
        return "none".into();
    }
    let shown: Vec<_> = runs.iter().take(20).map(|run| run_text(&run)).collect();
    let more = if runs.iter().nth(20).is_some() { " …" } else { "" };
    format!("{} serials: {}{more}", runs.count(), shown.join(" "))
}

pub fn revocations(list: &VerifiedRevocations<'_>) -> String {
    let issuers: Vec<_> = list.issuers().map(|id| id.to_string()).collect();
    let devices = list.devices().map_or("not in this part".into(), runs);
    format!(
        "revocation list {}\n  issuer      {}\n  issued      {}\n  authorities {}\n  backends    {}\n  devices     {devices}\n",
        list.number(),
        list.issuer(),
        date(list.issued()),
        if issuers.is_empty() { "none".into() } else { issuers.join(" ") },
        runs(list.backends()),
    )
}

/// The head of a list, unverified.
pub fn claimed_revocations(bytes: &[u8]) -> Option<String> {
    let mut reader = Reader::new(bytes);
    let (version, form) = (reader.u8().ok()?, reader.u8().ok()?);
    let issuer = IssuerId(reader.array().ok()?);
    let (number, issued) = (reader.varint().ok()?, UnixSeconds(reader.varint().ok()?));
    reader.bytes(64).ok()?;
    reader.prefixed(vitalwire::limits::MAX_BACKENDS_PART).ok()?;
    let form = match form {
        1 => "whole",
        2 => "the part for devices",
        _ => return None,
    };
    let plausible = version == 1 && number > 0 && issued.0 < vitalwire::limits::MAX_UNIX_SECONDS;
    plausible.then(|| {
        format!(
            "revocation list {number}, {form}\n  issuer      {issuer}\n  issued      {}\n  {} bytes\n",
            date(issued),
            bytes.len()
        )
    })
}
