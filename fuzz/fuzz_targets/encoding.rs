//! Every reader of the compact encoding, in an order that the input chooses. What it reads fits into what there was, and what can
//! be written again reads the same.
#![no_main]

use encoding::{Decoder, Encoder, index_encoder};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((count, rest)) = data.split_first() else { return };
    let (choices, bytes) = rest.split_at(rest.len().min(usize::from(*count)));
    let mut decoder = Decoder::new(bytes);
    for choice in choices {
        let before = decoder.remaining();
        let start = bytes.len() - before;
        if read(&mut decoder, *choice).is_err() {
            break;
        }
        assert!(decoder.remaining() <= before && bytes.len() - decoder.remaining() >= start);
    }
    round_trips(bytes);
    let mut index = bytes;
    while !index.is_empty() && index_encoder::decode_uint(&mut index).is_ok() {
        let _ = index_encoder::decode_buffer(&mut index);
        let _ = index_encoder::decode_string(&mut index);
    }
});

fn read(decoder: &mut Decoder<'_>, choice: u8) -> Result<(), encoding::DecodeError> {
    match choice % 24 {
        0 => drop(decoder.uint()?),
        1 => drop(decoder.int()?),
        2 => drop(decoder.u8()?),
        3 => drop(decoder.u16()?),
        4 => drop(decoder.u24()?),
        5 => drop(decoder.u32()?),
        6 => drop(decoder.u40()?),
        7 => drop(decoder.u48()?),
        8 => drop(decoder.u56()?),
        9 => drop(decoder.u64()?),
        10 => drop(decoder.f32()?),
        11 => drop(decoder.f64()?),
        12 => drop(decoder.lexint()?),
        13 => drop(decoder.bool()?),
        14 => drop(decoder.buffer()?),
        15 => drop(decoder.optional_buffer()?),
        16 => drop(decoder.string()?),
        17 => drop(decoder.ipv4()?),
        18 => drop(decoder.ipv6()?),
        19 => drop(decoder.ip()?),
        20 => drop(decoder.bitfield::<7>()?),
        21 => {
            let available = decoder.remaining();
            let items = decoder.array(6, |item| item.ipv4())?;
            assert!(items.len() * 6 <= available);
        }
        22 => {
            let available = decoder.remaining();
            assert!(decoder.u32_array()?.len() * 4 <= available);
        }
        _ => drop(decoder.frame(|frame| frame.buffer().map(<[u8]>::len))?),
    }
    Ok(())
}

fn round_trips(bytes: &[u8]) {
    if let Ok(value) = Decoder::new(bytes).uint() {
        let mut encoder = Encoder::new();
        encoder.uint(value);
        assert_eq!(Decoder::new(&encoder.finish()).uint(), Ok(value));
    }
    if let Ok(value) = Decoder::new(bytes).buffer() {
        let mut encoder = Encoder::new();
        encoder.buffer(value);
        assert_eq!(Decoder::new(&encoder.finish()).buffer(), Ok(value));
    }
    if let Ok(value) = Decoder::new(bytes).int() {
        let mut encoder = Encoder::new();
        encoder.int(value);
        assert_eq!(Decoder::new(&encoder.finish()).int(), Ok(value));
    }
    // Above, JavaScript's lexint keeps 44 bits only.
    if let Ok(value @ 0..0x800_0000_0000) = Decoder::new(bytes).lexint() {
        let mut encoder = Encoder::new();
        encoder.lexint(value);
        assert_eq!(Decoder::new(&encoder.finish()).lexint(), Ok(value));
    }
}
