//! Runs one input through a target, without a fuzzer: `cargo run --example replay -- TARGET FILE`.

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, file] = arguments.as_slice() else {
        eprintln!("usage: replay TARGET FILE");
        std::process::exit(2);
    };
    let Some((_, target)) = vitalwire_fuzz::TARGETS.iter().find(|(known, _)| known == name) else {
        eprintln!("there is no target {name}");
        std::process::exit(2);
    };
    let input = std::fs::read(file).unwrap_or_else(|error| {
        eprintln!("{file}: {error}");
        std::process::exit(2);
    });
    target(&input);
}
