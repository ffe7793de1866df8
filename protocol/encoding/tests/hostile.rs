//! Bytes that no encoder wrote, and everything that one did.

use std::net::SocketAddr;

use encoding::index_encoder::{decode_buffer, decode_string, decode_uint, encode_buffer, encode_uint};
use encoding::{DecodeError, Decoder, Encoder, MAX_ARRAY_LENGTH, MAX_SAFE_INTEGER};
use proptest::collection::vec;
use proptest::prelude::*;

#[test]
fn an_unsafe_integer_is_an_error() {
    let encoded = |value| {
        let mut encoder = Encoder::new();
        encoder.uint(value);
        encoder.finish()
    };
    assert_eq!(Decoder::new(&encoded(MAX_SAFE_INTEGER)).uint(), Ok(MAX_SAFE_INTEGER));
    for value in [MAX_SAFE_INTEGER + 1, u64::MAX] {
        assert_eq!(Decoder::new(&encoded(value)).uint(), Err(DecodeError::UnsafeInteger(value)));
    }
}

#[test]
fn a_longer_form_than_necessary_is_accepted() {
    for bytes in [&[5][..], &[0xfd, 5, 0], &[0xfe, 5, 0, 0, 0], &[0xff, 5, 0, 0, 0, 0, 0, 0, 0]] {
        assert_eq!(Decoder::new(bytes).uint(), Ok(5));
    }
}

#[test]
fn a_length_beyond_the_bytes_is_out_of_bounds() {
    let mut encoder = Encoder::new();
    encoder.uint(MAX_SAFE_INTEGER).raw(&[1, 2, 3]);
    let error = DecodeError::OutOfBounds { needed: MAX_SAFE_INTEGER, left: 3 };
    assert_eq!(Decoder::new(encoder.as_slice()).buffer(), Err(error));
    assert_eq!(Decoder::new(encoder.as_slice()).string(), Err(error));
    assert_eq!(Decoder::new(encoder.as_slice()).frame(|frame| frame.u8()), Err(error));
}

#[test]
fn a_count_must_be_paid_for_by_the_bytes() {
    let list = |count, bytes: usize| {
        let mut encoder = Encoder::new();
        encoder.uint(count).raw(&vec![0; bytes]);
        encoder.finish()
    };
    let never = |_: &mut Decoder<'_>| -> Result<(), DecodeError> { panic!("decoded an item") };
    let too_big = Err(DecodeError::ArrayTooBig(MAX_ARRAY_LENGTH + 1));
    assert_eq!(Decoder::new(&list(MAX_ARRAY_LENGTH + 1, 1 << 21)).array(1, never), too_big);
    let out_of_bounds = Err(DecodeError::OutOfBounds { needed: 96, left: 95 });
    assert_eq!(Decoder::new(&list(3, 95)).array(32, never), out_of_bounds);
    assert_eq!(Decoder::new(&list(3, 96)).array(32, |d| d.fixed::<32>()).map(|list| list.len()), Ok(3));
    assert!(Decoder::new(&list(1000, 999)).array(0, never).is_err());
    assert_eq!(Decoder::new(&list(MAX_ARRAY_LENGTH, 1 << 20)).array(1, |d| d.u8()).map(|list| list.len()), Ok(1 << 20));
}

#[test]
fn a_frame_ends_where_it_says() {
    let mut encoder = Encoder::new();
    encoder.frame(|frame| _ = frame.u8(1).u8(2)).u8(3);
    let mut decoder = Decoder::new(encoder.as_slice());
    assert_eq!(decoder.frame(|frame| frame.u8()), Ok(1));
    assert_eq!(decoder.u8(), Ok(3));
    let mut decoder = Decoder::new(encoder.as_slice());
    assert_eq!(decoder.frame(|frame| frame.u32()), Err(DecodeError::OutOfBounds { needed: 4, left: 2 }));
}

#[test]
fn text_is_read_as_javascript_reads_it() {
    let read = |bytes: &[u8]| {
        let mut encoder = Encoder::new();
        encoder.buffer(bytes);
        Decoder::new(encoder.as_slice()).string().expect("whole")
    };
    assert_eq!(read(b"a\xffb"), "a\u{fffd}b");
    assert_eq!(read(b"\xf0\x9f\x98"), "\u{fffd}");
    assert_eq!(read(b"\xed\xa0\x80"), "\u{fffd}\u{fffd}\u{fffd}");
}

#[test]
fn addresses_and_flags_have_their_widths() {
    let mut encoder = Encoder::new();
    encoder.ipv4("1.2.3.4:258".parse().expect("address")).ip("[::1]:513".parse().expect("address"));
    let v6 = [&[6][..], &[0; 15], &[1, 1, 2]].concat();
    assert_eq!(encoder.as_slice(), [&[1, 2, 3, 4, 2, 1][..], &v6].concat());

    let mut encoder = Encoder::new();
    encoder.bitfield::<7>(0b101).bitfield::<9>(0x101).bitfield::<20>(1).bitfield::<33>(1);
    assert_eq!(encoder.as_slice(), b"\x05\xfd\x01\x01\xfe\x01\0\0\0\xff\x01\0\0\0\0\0\0\0");
    let mut decoder = Decoder::new(encoder.as_slice());
    assert_eq!(decoder.bitfield::<7>(), Ok(5));
    // A later version has declared more flags; only the first byte is of a field this short.
    assert_eq!(decoder.bitfield::<7>(), Ok(1));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..80), calls in vec(0..24u8, 0..12)) {
        let mut decoder = Decoder::new(&bytes);
        for call in calls {
            let before = decoder.remaining();
            match call {
                0 => _ = decoder.uint(),
                1 => _ = decoder.int(),
                2 => _ = decoder.u16(),
                3 => _ = decoder.u24(),
                4 => _ = decoder.u40(),
                5 => _ = decoder.u48(),
                6 => _ = decoder.u56(),
                7 => _ = decoder.u64(),
                8 => _ = decoder.f32(),
                9 => _ = decoder.f64(),
                10 => _ = decoder.lexint(),
                11 => _ = decoder.bool(),
                12 => _ = decoder.buffer(),
                13 => _ = decoder.optional_buffer(),
                14 => _ = decoder.string(),
                15 => _ = decoder.fixed::<32>(),
                16 => _ = decoder.ipv4(),
                17 => _ = decoder.ipv6(),
                18 => _ = decoder.ip(),
                19 => _ = decoder.bitfield::<7>(),
                20 => _ = decoder.bitfield::<40>(),
                21 => _ = decoder.array(2, |item| item.string()),
                22 => _ = decoder.u32_array(),
                _ => _ = decoder.frame(|frame| frame.array(1, |item| item.uint())),
            }
            prop_assert!(decoder.remaining() <= before);
        }
        _ = decode_uint(&mut &bytes[..]);
        _ = decode_buffer(&mut &bytes[..]);
        _ = decode_string(&mut &bytes[..]);
    }

    #[test]
    fn what_is_encoded_is_decoded(
        uint in 0..=MAX_SAFE_INTEGER,
        shift in 0..53u32,
        int in -(1i64 << 52)..1i64 << 52,
        bytes in vec(any::<u8>(), 0..600),
        text: String,
        address: SocketAddr,
        flags in 0..128u64,
        list in vec(any::<u32>(), 0..40),
    ) {
        let uint = uint >> shift;
        let mut encoder = Encoder::new();
        encoder.uint(uint).int(int).buffer(&bytes).optional_buffer(None).string(&text).ip(address);
        encoder.bitfield::<7>(flags).u32_array(&list).frame(|frame| _ = frame.array(&list, |e, &item| _ = e.uint(item.into())));
        encoder.u40(uint & 0xff_ffff_ffff).u48(uint & 0xffff_ffff_ffff).u56(uint).raw(&bytes);

        let mut decoder = Decoder::new(encoder.as_slice());
        prop_assert_eq!(decoder.uint(), Ok(uint));
        prop_assert_eq!(decoder.int(), Ok(int));
        prop_assert_eq!(decoder.buffer(), Ok(&bytes[..]));
        prop_assert_eq!(decoder.optional_buffer(), Ok(None));
        prop_assert_eq!(decoder.string(), Ok(text));
        let read = decoder.ip().map(|read| (read.ip(), read.port()));
        prop_assert_eq!(read, Ok((address.ip(), address.port())));
        prop_assert_eq!(decoder.bitfield::<7>(), Ok(flags));
        prop_assert_eq!(decoder.u32_array(), Ok(list.clone()));
        let wide: Vec<u64> = list.iter().map(|&item| item.into()).collect();
        prop_assert_eq!(decoder.frame(|frame| frame.array(1, |item| item.uint())), Ok(wide));
        prop_assert_eq!(decoder.u40(), Ok(uint & 0xff_ffff_ffff));
        prop_assert_eq!(decoder.u48(), Ok(uint & 0xffff_ffff_ffff));
        prop_assert_eq!(decoder.u56(), Ok(uint));
        prop_assert_eq!(decoder.rest(), &bytes[..]);
        prop_assert!(decoder.is_empty());
    }

    #[test]
    fn lexints_up_to_32_bits_sort_as_their_values(a: u32, b: u32) {
        let encoded = [a, b].map(|value| {
            let mut encoder = Encoder::new();
            encoder.lexint(value.into());
            assert_eq!(Decoder::new(encoder.as_slice()).lexint(), Ok(value.into()));
            encoder.finish()
        });
        prop_assert_eq!(encoded[0].cmp(&encoded[1]), a.cmp(&b));
    }

    #[test]
    fn index_keys_sort_as_their_values(
        a in (0..=MAX_SAFE_INTEGER, 0..53u32, vec(0..3u8, 0..6)),
        b in (0..=MAX_SAFE_INTEGER, 0..53u32, vec(0..3u8, 0..6)),
    ) {
        let [a, b] = [a, b].map(|(uint, shift, bytes)| (uint >> shift, bytes));
        let encoded = [&a, &b].map(|(uint, bytes)| {
            let mut key = Vec::new();
            encode_uint(&mut key, *uint);
            encode_buffer(&mut key, bytes);
            let mut rest = &key[..];
            assert_eq!(decode_uint(&mut rest), Ok(*uint));
            assert_eq!(decode_buffer(&mut rest).as_ref(), Ok(bytes));
            assert!(rest.is_empty());
            key
        });
        prop_assert_eq!(encoded[0] == encoded[1], a == b);
        if a.0 != b.0 {
            prop_assert_eq!(encoded[0].cmp(&encoded[1]), a.cmp(&b));
        }
    }
}
