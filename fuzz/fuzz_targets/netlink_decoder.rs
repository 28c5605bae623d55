//! Whatever the kernel, or somebody in its place, sends: the decoder answers and does not panic.

#![no_main]

use fairlead_dataplane::netlink::decode_message;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| decode_message(bytes));
