//! Whatever a heartbeat with a right seal has inside, or whatever the seal is opened from: decoding answers and does not panic.

#![no_main]

use fairlead_local::ownership::decode;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| drop(decode(bytes)));
