//! The tested random source, as C uses it.
#![allow(clippy::undocumented_unsafe_blocks)] // each block hands over memory of this test

use core::ffi::c_void;
use core::ptr::null_mut;
use vitalwire::{Entropy, OsEntropy};
use vitalwire_c::vw_status::*;
use vitalwire_c::*;

/// How the generator is, and how many samples it has given.
struct Generator {
    stuck: bool,
    silent: bool,
    given: u32,
}

unsafe extern "C" fn sample(context: *mut c_void, out: *mut u32) -> i32 {
    let generator = unsafe { &mut *context.cast::<Generator>() };
    if generator.silent {
        return -1;
    }
    let mut bytes = [0; 4];
    if !generator.stuck {
        OsEntropy.fill(&mut bytes).unwrap();
    }
    generator.given += 1;
    unsafe { out.write(u32::from_le_bytes(bytes)) };
    0
}

#[test]
fn a_generator_that_breaks_is_not_used_again() {
    let mut generator = Generator { stuck: false, silent: true, given: 0 };
    let context: *mut c_void = (&raw mut generator).cast();
    let mut memory = Box::new(vw_health { opaque: [0; VW_HEALTH_WORDS] });
    let health = &raw mut *memory;
    let size = size_of::<vw_health>();
    let (mut out, mut found) = ([0x11; 40], 99);
    let mut fill = |len| unsafe { vw_health_fill(health.cast(), out.as_mut_ptr(), len) };
    unsafe {
        assert_eq!(fill(40), VW_ERROR_NOT_INITIALISED as i32);
        assert_eq!(vw_health_init(health, size - 8, Some(sample), context, 32, 8000), VW_ERROR_BAD_LENGTH);
        assert_eq!(vw_health_init(health, size, None, context, 32, 8000), VW_ERROR_NULL);
        assert_eq!(vw_health_init(health, size, Some(sample), context, 33, 8000), VW_ERROR_INVALID_CONFIG);
        assert_eq!(vw_health_init(health, size, Some(sample), context, 32, 99), VW_ERROR_INVALID_CONFIG);
        assert_eq!(vw_health_init(health, size, Some(sample), context, 32, 8000), VW_OK);

        // No sample is no failure.
        assert_eq!(vw_health_start_up(health), VW_ERROR_ENTROPY);
        (*context.cast::<Generator>()).silent = false;
        assert_eq!(vw_health_start_up(health), VW_OK);
        assert_eq!((*context.cast::<Generator>()).given, 1024);
        assert_eq!(fill(40), 0);
        assert_eq!((*context.cast::<Generator>()).given, 1024 + 80, "40 samples for 32 bytes");
        assert_eq!(vw_health_failure(health, &mut found), VW_OK);
        assert_eq!(found, VW_HEALTH_GOOD);

        (*context.cast::<Generator>()).stuck = true;
        assert_eq!(fill(40), VW_ERROR_ENTROPY as i32);
        (*context.cast::<Generator>()).stuck = false;
        assert_eq!(fill(40), VW_ERROR_ENTROPY as i32);
        assert_eq!(vw_health_failure(health, &mut found), VW_OK);
        assert_eq!(found, VW_HEALTH_STUCK);
        assert_eq!(vw_health_failure(health, null_mut()), VW_ERROR_NULL);
        assert_eq!(vw_health_failure(health, health.cast()), VW_ERROR_OVERLAP);
        assert_eq!(vw_health_fill(health.cast(), health.cast(), 8), VW_ERROR_OVERLAP as i32);
        assert_eq!(vw_health_destroy(health), VW_OK);
        assert_eq!(vw_health_start_up(health), VW_ERROR_NOT_INITIALISED);
    }
    assert!(memory.opaque.iter().all(|word| *word == 0));
    assert_eq!(out, [0; 40], "nothing of a failed call");
}
