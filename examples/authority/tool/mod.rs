//! The commands. The clock and the outputs are handed in, so a test runs the whole of it.

mod args;
mod files;
mod register;
mod show;

use args::{Args, Failure, HELP};
use files::{read_at_most, read_key, read_secret, write_new};
use register::{Entry, Register};
use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use vitalwire::crypto::{PublicKey, SignatureKey, SigningKey};
use vitalwire::identity::*;
use vitalwire::limits::{MAX_CREDENTIAL, MAX_INTERMEDIATE, MAX_REVOCATION_LIST};
use vitalwire::{Entropy, OsEntropy, UnixSeconds};

const DAY: u64 = 86_400;

/// Runs one command; returns the exit code: 0 done, 1 failed or refused, 2 wrong arguments.
pub fn run(words: Vec<OsString>, now: UnixSeconds, out: &mut dyn Write, errors: &mut dyn Write) -> u8 {
    let mut text = String::new();
    let result = dispatch(words, now, &mut text);
    // Somebody who has stopped reading wants no more.
    let _ = out.write_all(text.as_bytes());
    match result {
        Ok(()) => 0,
        Err(Failure::Usage(why)) => {
            let joint = if why.ends_with('?') { "" } else { ";" };
            let _ = writeln!(errors, "authority: {why}{joint} --help says more");
            2
        }
        Err(Failure::Refused(why)) => {
            let _ = writeln!(errors, "authority: {why}");
            1
        }
    }
}

fn dispatch(words: Vec<OsString>, now: UnixSeconds, out: &mut String) -> Result<(), Failure> {
    let mut words = words.into_iter();
    let command = words.next().unwrap_or_default();
    let command = command.to_str().unwrap_or_default();
    let Some((_, help)) = HELP.iter().find(|(name, _)| *name == command) else {
        return match command {
            "--help" | "-h" | "help" => {
                *out = args::overview();
                Ok(())
            }
            "" => Err(Failure::Usage("which command?".into())),
            other => Err(Failure::Usage(format!("there is no command `{other}`"))),
        };
    };
    let Some(args) = Args::parse(command, words)? else {
        *out = format!("{help}\n");
        return Ok(());
    };
    match command {
        "create" => create(&args, out),
        "intermediate" => intermediate(&args, now, out),
        "issue" => issue(&args, now, out),
        "renew" => renew(&args, now, out),
        "revoke" => revoke(&args, now, out),
        "list" => list(&args, now, out),
        "inspect" => inspect(&args, out),
        _ => verify(&args, now, out),
    }
}

fn open(directory: &Path) -> Result<(Authority, Register), Failure> {
    if !directory.join("authority.key").exists() {
        let why = "there is no authority.key in it: `authority create` makes an authority";
        return Err(files::at(directory, why));
    }
    let secret = read_secret(&directory.join("authority.key"))?;
    let authority = Authority::new(SigningKey::from_bytes(*secret));
    let public = read_key(&directory.join("authority.pub"))?;
    if authority.public_key().0 != public {
        return Err(Failure::Refused(format!(
            "{}: authority.key and authority.pub do not belong together",
            directory.display()
        )));
    }
    let register = Register::open(directory, &authority)?;
    Ok((authority, register))
}

fn create(args: &Args, out: &mut String) -> Result<(), Failure> {
    let directory = args.directory()?;
    files::make_directory(directory)?;
    files::check_new(&directory.join("authority.key"))?;
    let authority = Authority::new(SigningKey::generate(&mut OsEntropy).map_err(Failure::refused)?);
    files::write_secret(&directory.join("authority.key"), authority.signing_key().expose())?;
    write_new(&directory.join("authority.pub"), &authority.public_key().0)?;
    write_new(&directory.join("register"), b"")?;
    *out = format!("{}  authority {}\n", directory.display(), authority.issuer());
    Ok(())
}

/// From now for so many days, both ends included.
fn validity(args: &Args, now: UnixSeconds, usual: u64) -> Result<UnixSeconds, Failure> {
    let days = args.number("days", 1..=36_500)?.unwrap_or(usual);
    Ok(UnixSeconds(now.0.saturating_add(days.saturating_mul(DAY))))
}

fn intermediate(args: &Args, now: UnixSeconds, out: &mut String) -> Result<(), Failure> {
    let (authority, mut register) = open(args.directory()?)?;
    let key = SignatureKey(read_key(args.file("key")?)?);
    if key == authority.public_key() {
        return Err(Failure::Refused("an authority does not certify itself".into()));
    }
    let roles = match args.text("roles").unwrap_or("devices") {
        "devices" => Roles::DEVICES,
        "backends" => Roles::BACKENDS,
        "both" => Roles::BOTH,
        other => return Err(Failure::Usage(format!("--roles is devices, backends or both, not `{other}`"))),
    };
    let request = IntermediateRequest {
        serial: register.next_serial()?,
        roles,
        scopes: show::scopes(args.needed("scopes")?)?,
        issued: now,
        not_before: now,
        not_after: validity(args, now, 730)?,
    };
    let certificate = authority.certify(&key, &request).map_err(Failure::refused)?;
    let file = args.file("out")?;
    files::check_new(file)?;
    register.append(&Entry::Certified { serial: request.serial, issuer: IssuerId::of(&key) })?;
    write_new(file, certificate.as_bytes())?;
    *out = format!("{}\n{}", file.display(), show::certificate(&certificate));
    Ok(())
}

fn issue(args: &Args, now: UnixSeconds, out: &mut String) -> Result<(), Failure> {
    let (authority, mut register) = open(args.directory()?)?;
    let role = match args.needed("role")? {
        "device" => Role::Device,
        "backend" => Role::Backend,
        other => return Err(Failure::Usage(format!("--role is device or backend, not `{other}`"))),
    };
    let mut subject = SubjectId([0; 16]);
    match args.text("subject") {
        Some(text) => subject.0 = show::unhex(text, "--subject")?,
        None => OsEntropy.fill(&mut subject.0).map_err(Failure::refused)?,
    }
    let scopes = show::scopes(args.needed("scopes")?)?;
    let usual = if role == Role::Device { 1825 } else { 365 };
    let not_after = validity(args, now, usual)?;
    let request = CredentialRequest::new(register.next_serial()?, subject, role, scopes, now, not_after);
    sign(args, &authority, &mut register, &request, out)
}

fn sign(
    args: &Args,
    authority: &Authority,
    register: &mut Register,
    request: &CredentialRequest,
    out: &mut String,
) -> Result<(), Failure> {
    let key = PublicKey(read_key(args.file("key")?)?);
    let file = args.file("out")?;
    files::check_new(file)?;
    let credential = authority.issue(&key, request).map_err(Failure::refused)?;
    // First the register: no serial is ever given twice.
    register.append(&Entry::Issued {
        serial: request.serial,
        subject: request.subject,
        role: request.role,
        scopes: request.scopes,
        not_after: request.not_after,
    })?;
    write_new(file, credential.as_bytes())?;
    *out = format!("{}\n{}", file.display(), show::credential(&credential));
    Ok(())
}

fn renew(args: &Args, now: UnixSeconds, out: &mut String) -> Result<(), Failure> {
    let (authority, mut register) = open(args.directory()?)?;
    let path = args.file("credential")?;
    let bytes = read_at_most(path, MAX_CREDENTIAL)?;
    let key = PublicKey(read_key(args.file("key")?)?);
    let anchors = TrustAnchors::new(&[authority.public_key()]).map_err(Failure::refused)?;
    // An expired one may be renewed; the signature must be right all the same.
    let any_time = Time::floor_only(UnixSeconds(0));
    let device = anchors.verify(&bytes, &key, Role::Device, any_time);
    let old = match device {
        Err(CredentialError::WrongRole) => anchors.verify(&bytes, &key, Role::Backend, any_time),
        other => other,
    };
    let old = old.map_err(|error| files::at(path, show::why_not(error, &bytes, now)))?;
    if register.is_revoked(old.serial()) {
        return Err(Failure::Refused(format!(
            "serial {} is revoked: issue a new credential, if the holder may have one",
            old.serial()
        )));
    }
    let scopes = args.text("scopes").map_or(Ok(old.scopes()), show::scopes)?;
    let usual = if old.role() == Role::Device { 1825 } else { 365 };
    let not_after = validity(args, now, usual)?;
    let subject = old.identity().subject;
    let request =
        CredentialRequest::new(register.next_serial()?, subject, old.role(), scopes, now, not_after);
    sign(args, &authority, &mut register, &request, out)
}

fn revoke(args: &Args, now: UnixSeconds, out: &mut String) -> Result<(), Failure> {
    let (authority, mut register) = open(args.directory()?)?;
    let runs = args.all("serial").map(show::run).collect::<Result<Vec<_>, _>>()?;
    let issuers = args
        .all("issuer")
        .map(|text| show::unhex(text, "--issuer").map(IssuerId))
        .collect::<Result<Vec<_>, _>>()?;
    if runs.is_empty() && issuers.is_empty() && !args.flag("refresh") {
        return Err(Failure::Usage("what is to be revoked: --serial or --issuer, or --refresh".into()));
    }
    let list = register.revoke(&authority, now, &runs, &issuers)?;
    let anchors = TrustAnchors::new(&[authority.public_key()]).map_err(Failure::refused)?;
    let verified = anchors.verify_revocations(&list, Time::known(now)).map_err(Failure::refused)?;
    *out = format!("{}\n{}", register.list_path().display(), show::revocations(&verified));
    for run in runs.iter().filter(|run| !register.has_issued(run)) {
        *out += &format!("note: nothing was issued yet with serial {}\n", show::run_text(run));
    }
    Ok(())
}

fn list(args: &Args, now: UnixSeconds, out: &mut String) -> Result<(), Failure> {
    let (authority, register) = open(args.directory()?)?;
    let list = match register.number() {
        0 => "no revocation list yet".to_owned(),
        number => format!("revocation list {number}"),
    };
    *out = format!("authority {}  {list}\n", authority.issuer());
    for entry in register.entries() {
        *out += &format!("{}\n", register.line(entry, now));
    }
    Ok(())
}

fn inspect(args: &Args, out: &mut String) -> Result<(), Failure> {
    let path = args.file("file")?;
    let bytes = read_at_most(path, MAX_REVOCATION_LIST)?;
    let shown = if let Ok(credential) = Credential::from_bytes(&bytes) {
        show::credential(&credential)
    } else if let Ok(certificate) = Intermediate::from_bytes(&bytes) {
        show::certificate(&certificate)
    } else if let Some(claims) = show::claimed_revocations(&bytes) {
        claims
    } else if bytes.len() == 32 {
        let id = IssuerId::of(&SignatureKey(bytes.try_into().unwrap_or_default()));
        format!("a key of 32 bytes; if it is an authority's, its issuer id is {id}\n")
    } else {
        return Err(files::at(path, "neither a credential, nor a certificate, nor a revocation list"));
    };
    *out = format!("{shown}not verified: `authority verify` does that\n");
    Ok(())
}

fn verify(args: &Args, now: UnixSeconds, out: &mut String) -> Result<(), Failure> {
    let time = Time::known(args.number("at", 0..=u64::MAX)?.map_or(now, UnixSeconds));
    let mut keys = Vec::new();
    for path in args.paths("trust") {
        keys.push(SignatureKey(read_key(path)?));
    }
    if keys.is_empty() {
        return Err(Failure::Usage("whom do you trust: --trust FILE".into()));
    }
    let mut anchors = TrustAnchors::new(&keys).map_err(Failure::refused)?;
    for path in args.paths("intermediate") {
        let certificate = read_at_most(path, MAX_INTERMEDIATE)?;
        if Intermediate::from_bytes(&certificate).is_err() {
            return Err(files::at(path, "malformed: no certificate of an authority"));
        }
        let why = |error| files::at(path, show::why_not(error, &certificate, time.now()));
        anchors = anchors.with_intermediate(&certificate, time).map_err(why)?;
    }
    let mut store = RevocationStore::default();
    for path in args.paths("list") {
        let bytes = read_at_most(path, MAX_REVOCATION_LIST)?;
        let list = anchors.verify_revocations(&bytes, time).map_err(|error| files::at(path, error))?;
        store.take(&list).map_err(|error| files::at(path, error))?;
    }
    let path = args.file("file")?;
    let bytes = read_at_most(path, MAX_REVOCATION_LIST)?;
    if let Ok(certificate) = Intermediate::from_bytes(&bytes) {
        let why = |error| files::at(path, show::why_not(error, &bytes, time.now()));
        anchors = anchors.with_intermediate(&bytes, time).map_err(why)?;
        if store.is_issuer_revoked(&anchors, &IssuerId::of(&certificate.key())) {
            return Err(files::at(path, "revoked"));
        }
        *out = format!("good\n{}", show::certificate(&certificate));
    } else if let Ok(credential) = Credential::from_bytes(&bytes) {
        let key = PublicKey(read_key(args.file("key")?)?);
        let role = show::claimed_role(&bytes);
        let why = |error| files::at(path, show::why_not(error, &bytes, time.now()));
        let good = anchors.verify(&bytes, &key, role, time).map_err(why)?;
        if store.is_revoked(&anchors, &good.identity().issuer, good.serial()) {
            return Err(files::at(path, "revoked"));
        }
        *out = format!(
            "good: scopes {}, until {}\n{}",
            show::scope_names(good.scopes()),
            show::date(good.not_after()),
            show::credential(&credential)
        );
    } else {
        let list = anchors.verify_revocations(&bytes, time).map_err(|error| match error {
            RevocationError::Malformed => {
                files::at(path, "malformed: neither a credential, nor a certificate, nor a revocation list")
            }
            error => files::at(path, error),
        })?;
        match list.form() {
            ListForm::Whole => {
                store.take(&list).map_err(|error| files::at(path, error))?;
            }
            ListForm::Backends => {
                let known = store.number(&list.issuer());
                if list.number() < known {
                    return Err(files::at(path, RevocationError::Rollback { known }));
                }
            }
        }
        *out = format!("good\n{}", show::revocations(&list));
    }
    Ok(())
}
