//! The bytes of the JavaScript packages.

use encoding::index_encoder::{self, SubEncoder};
use encoding::{DecodeError, Decoder, Encoder};
use serde_json::Value;
use testing::{hex, unhex, vector_json};

const STACKS: [&str; 3] = ["pinned", "msb", "latest"];

/// Encodes `value` and compares with `expected`, decodes that and compares with `value`.
fn check<T: PartialEq + std::fmt::Debug>(
    expected: &[u8],
    value: T,
    encode: impl FnOnce(&mut Encoder, &T),
    decode: impl Fn(&mut Decoder<'_>) -> Result<T, DecodeError>,
) {
    let mut encoder = Encoder::new();
    encode(&mut encoder, &value);
    assert_eq!(hex(encoder.as_slice()), hex(expected), "{value:?}");

    let mut decoder = Decoder::new(expected);
    assert_eq!(decode(&mut decoder).as_ref(), Ok(&value));
    assert!(decoder.is_empty(), "{value:?} leaves bytes");
    for end in 0..expected.len() {
        assert_ne!(decode(&mut Decoder::new(&expected[..end])).as_ref(), Ok(&value), "{value:?} cut at {end}");
    }
}

fn bytes(value: &Value) -> Vec<u8> {
    unhex(value.as_str().expect("hex text"))
}

fn list<T>(value: &Value, item: impl FnMut(&Value) -> T) -> Vec<T> {
    value.as_array().expect("list").iter().map(item).collect()
}

#[test]
fn vector_compact_encoding() {
    for stack in STACKS {
        let file = vector_json(&format!("data/{stack}/01-compact-encoding.json"));
        let vectors = file["vectors"].as_array().expect("vectors");
        assert!(!vectors.is_empty());
        for vector in vectors {
            let (value, expected) = (&vector["value"], bytes(&vector["hex"]));
            let uint = || value.as_u64().expect("unsigned");
            let text = || value.as_str().expect("text").to_owned();
            match vector["enc"].as_str().expect("enc") {
                "uint" => check(&expected, uint(), |e, &v| _ = e.uint(v), |d| d.uint()),
                "int" => check(&expected, value.as_i64().expect("signed"), |e, &v| _ = e.int(v), |d| d.int()),
                "uint8" => check(&expected, uint() as u8, |e, &v| _ = e.u8(v), |d| d.u8()),
                "uint16" => check(&expected, uint() as u16, |e, &v| _ = e.u16(v), |d| d.u16()),
                "uint24" => check(&expected, uint() as u32, |e, &v| _ = e.u24(v), |d| d.u24()),
                "uint32" => check(&expected, uint() as u32, |e, &v| _ = e.u32(v), |d| d.u32()),
                "uint40" => check(&expected, uint(), |e, &v| _ = e.u40(v), |d| d.u40()),
                "uint48" => check(&expected, uint(), |e, &v| _ = e.u48(v), |d| d.u48()),
                "uint56" => check(&expected, uint(), |e, &v| _ = e.u56(v), |d| d.u56()),
                "uint64" => check(&expected, uint(), |e, &v| _ = e.u64(v), |d| d.u64()),
                "float32" => {
                    check(&expected, value.as_f64().expect("number") as f32, |e, &v| _ = e.f32(v), |d| d.f32());
                }
                "float64" => check(&expected, value.as_f64().expect("number"), |e, &v| _ = e.f64(v), |d| d.f64()),
                "bool" => check(&expected, value.as_bool().expect("bool"), |e, &v| _ = e.bool(v), |d| d.bool()),
                "string" => check(&expected, text(), |e, v| _ = e.string(v), |d| d.string()),
                "lexint" => check(&expected, uint(), |e, &v| _ = e.lexint(v), |d| d.lexint()),
                "buffer" => {
                    let value = value.as_str().map(unhex).unwrap_or_default();
                    check(&expected, value.clone(), |e, v| _ = e.buffer(v), |d| d.buffer().map(<[u8]>::to_vec));
                    let value = Some(value).filter(|value| !value.is_empty());
                    check(
                        &expected,
                        value,
                        |e, v| _ = e.optional_buffer(v.as_deref()),
                        |d| Ok(d.optional_buffer()?.map(<[u8]>::to_vec)),
                    );
                }
                "raw" => check(&expected, bytes(value), |e, v| _ = e.raw(v), |d| Ok(d.rest().to_vec())),
                "fixed32" => {
                    let value = <[u8; 32]>::try_from(bytes(value)).expect("32 bytes");
                    check(&expected, value, |e, v| _ = e.fixed(v), |d| d.fixed());
                }
                "fixed64" => {
                    let value = <[u8; 64]>::try_from(bytes(value)).expect("64 bytes");
                    check(&expected, value, |e, v| _ = e.fixed(v), |d| d.fixed());
                }
                "array(uint)" => check(
                    &expected,
                    list(value, |item| item.as_u64().expect("unsigned")),
                    |e, v| _ = e.array(v, |e, &item| _ = e.uint(item)),
                    |d| d.array(1, Decoder::uint),
                ),
                "array(fixed32)" => check(
                    &expected,
                    list(value, |item| <[u8; 32]>::try_from(bytes(item)).expect("32 bytes")),
                    |e, v| _ = e.array(v, |e, item| _ = e.fixed(item)),
                    |d| d.array(32, |d| d.fixed()),
                ),
                "uint32array" => check(
                    &expected,
                    list(value, |item| item.as_u64().expect("unsigned") as u32),
                    |e, v| _ = e.u32_array(v),
                    |d| d.u32_array(),
                ),
                "frame(string)" => {
                    check(&expected, text(), |e, v| _ = e.frame(|e| _ = e.string(v)), |d| d.frame(|d| d.string()));
                }
                // A string of JSON: tested with the JSON module.
                "json" => {}
                other => panic!("no codec for {other}"),
            }
        }
    }
}

#[test]
fn vector_index_encoder() {
    for stack in STACKS {
        let file = vector_json(&format!("data/{stack}/02-index-encoder.json"));
        let vectors = file["vectors"].as_array().expect("vectors");
        assert!(!vectors.is_empty());
        for vector in vectors {
            let expected = bytes(&vector["hex"]);
            let (mut encoded, mut rest) = (Vec::new(), &expected[..]);
            match vector["enc"].as_str().expect("enc") {
                "UINT" => {
                    let value = vector["value"].as_u64().expect("unsigned");
                    index_encoder::encode_uint(&mut encoded, value);
                    assert_eq!(index_encoder::decode_uint(&mut rest), Ok(value));
                }
                "STRING" => {
                    let value = vector["value"].as_str().expect("text");
                    index_encoder::encode_string(&mut encoded, value);
                    assert_eq!(index_encoder::decode_string(&mut rest).as_deref(), Ok(value));
                }
                other => panic!("no codec for {other}"),
            }
            assert_eq!(hex(&encoded), hex(&expected));
            assert!(rest.is_empty());
        }

        let sub = &file["subEncoder"];
        assert_eq!(SubEncoder::new(&[0]).encode(b"info"), bytes(&sub["info"]));
        let (members, member) = (SubEncoder::new(&[1]), &sub["member"]);
        assert_eq!(members.encode(&bytes(&member["key"])), bytes(&member["encoded"]));
        assert_eq!(members.decode(&bytes(&member["encoded"])), Some(&bytes(&member["key"])[..]));
        assert_eq!(members.decode(&bytes(&sub["info"])), None);
        let range = &sub["memberRange"];
        assert_eq!(members.range(), (bytes(&range["gte"]), bytes(&range["lt"])));
    }
}
