//! Replays the seeds through the targets, on any compiler and without a fuzzer.

use std::fs;
use std::path::Path;

#[test]
fn every_seed_passes() {
    for (name, target) in vitalwire_fuzz::TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(name);
        let mut count = 0;
        for entry in fs::read_dir(folder).expect("every target has seeds") {
            let path = entry.expect("readable").path();
            println!("{}", path.display());
            target(&fs::read(path).expect("readable"));
            count += 1;
        }
        assert!(count > 0, "{name} has no seeds");
    }
}

#[test]
fn the_empty_input_passes() {
    for (_, target) in vitalwire_fuzz::TARGETS {
        target(&[]);
    }
}
