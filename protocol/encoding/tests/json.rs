//! JavaScript's JSON against what V8 makes of the same inputs (`data/json.json`, which `data/json.mjs` writes), against the
//! vectors, and against itself.

use encoding::json::{
    JsString, JsonError, MAX_DEPTH, Object, Value, number_to_string, parse, parse_float, parse_int, stable_stringify,
    string_to_number, stringified_len, stringify, stringify_pretty, to_fixed, to_js_string, to_number, trim, truthy,
};
use proptest::prelude::*;
use testing::unhex;

fn node() -> serde_json::Value {
    serde_json::from_str(include_str!("data/json.json")).unwrap()
}

fn list<'a>(value: &'a serde_json::Value, key: &str) -> &'a [serde_json::Value] {
    let list = value[key].as_array().unwrap();
    assert!(!list.is_empty());
    list
}

fn text(value: &serde_json::Value) -> String {
    String::from_utf8(unhex(value.as_str().unwrap())).unwrap()
}

/// A double by its bits, so that NaN and -0 count too.
fn bits(value: &serde_json::Value) -> u64 {
    u64::from_str_radix(value.as_str().unwrap(), 16).unwrap()
}

fn assert_bits(number: f64, expected: &serde_json::Value, of: &str) {
    let expected = f64::from_bits(bits(expected));
    assert!(
        number.to_bits() == expected.to_bits() || number.is_nan() && expected.is_nan(),
        "{of:?}: {number:?} instead of {expected:?}"
    );
}

#[test]
fn documents_are_read_and_written_as_node_does() {
    for case in list(&node(), "documents") {
        let input = unhex(case["input"].as_str().unwrap());
        let shown = String::from_utf8_lossy(&input);
        let Some(compact) = case.get("compact") else {
            assert!(parse(&input).is_err(), "{shown}");
            continue;
        };
        let value = parse(&input).unwrap_or_else(|error| panic!("{shown}: {error}"));
        let compact = text(compact);
        assert_eq!(stringify(&value), compact, "{shown}");
        assert_eq!(stringified_len(&value), compact.len(), "{shown}");
        assert_eq!(stringify_pretty(&value), case.get("pretty").map_or(compact.clone(), text), "{shown}");
        assert_eq!(stable_stringify(&value), case.get("sorted").map_or(compact, text), "{shown}");
    }
}

#[test]
fn numbers_are_written_as_node_does() {
    for case in list(&node(), "numbers") {
        let number = f64::from_bits(bits(&case["bits"]));
        assert_eq!(number_to_string(number), case["text"].as_str().unwrap());
        for (digits, fixed) in [0, 2, 8].into_iter().zip(list(case, "fixed")) {
            assert_eq!(to_fixed(number, digits), fixed.as_str().unwrap(), "{number:?} to {digits} digits");
        }
    }
}

#[test]
fn strings_are_read_as_numbers_as_node_does() {
    for case in list(&node(), "strings") {
        let text = text(&case["text"]);
        assert_bits(string_to_number(&text), &case["number"], &text);
        assert_bits(parse_float(&text), &case["float"], &text);
        for (radix, int) in [0, 10, 16, 2, 36, 1, 8].into_iter().zip(list(case, "int")) {
            assert_bits(parse_int(&text, radix), int, &format!("{text} in base {radix}"));
        }
    }
}

#[test]
fn strings_are_sorted_by_code_units_as_node_does() {
    let node = node();
    let order: Vec<JsString> = list(&node, "order")
        .iter()
        .map(|units| {
            let units: Vec<u16> = units.as_array().unwrap().iter().map(|unit| unit.as_u64().unwrap() as u16).collect();
            let string = JsString::from_utf16(&units);
            assert_eq!(string.encode_utf16().collect::<Vec<_>>(), units);
            assert_eq!(string.utf16_len(), units.len());
            string
        })
        .collect();
    for (index, a) in order.iter().enumerate() {
        for (other, b) in order.iter().enumerate() {
            assert_eq!(a.cmp(b), index.cmp(&other), "{a:?} {b:?}");
        }
    }
}

#[test]
fn values_are_converted_as_node_does() {
    for case in list(&node(), "coerced") {
        let json = case["json"].as_str().unwrap();
        let value = parse(json).unwrap();
        let string = to_js_string(&value).unwrap();
        assert_eq!(string.to_str_lossy(), text(&case["text"]), "{json}");
        assert_eq!(string.trim().to_str_lossy(), text(&case["trimmed"]), "{json}");
        assert_eq!(string.to_lowercase().to_str_lossy(), text(&case["lower"]), "{json}");
        assert_bits(to_number(&value), &case["number"], json);
        assert_eq!(truthy(&value), case["truthy"].as_bool().unwrap(), "{json}");
    }
    assert_eq!(to_js_string(&parse(r#"{"toString":1}"#).unwrap()), None, "JavaScript throws");
}

/// The entry `json` of the vectors of compact-encoding: the text with its length before it.
#[test]
fn json_vector() {
    let mut checked = 0;
    for file in ["pinned", "latest", "msb"] {
        let path = format!("data/{file}/01-compact-encoding.json");
        if !testing::vectors_dir().join(&path).exists() {
            continue;
        }
        let vectors = testing::vector_json(&path);
        for vector in list(&vectors, "vectors").iter().filter(|vector| vector["enc"] == "json") {
            let bytes = unhex(vector["hex"].as_str().unwrap());
            let mut decoder = encoding::Decoder::new(&bytes);
            let text = decoder.buffer().unwrap();
            assert!(decoder.is_empty());
            let value = parse(text).unwrap();
            assert_eq!(stringify(&value).as_bytes(), text, "the text is what JSON.stringify makes");
            let mut encoder = encoding::Encoder::new();
            encoder.string(&stringify(&value));
            assert_eq!(encoder.finish(), bytes);
            checked += 1;
        }
    }
    assert!(checked > 0, "no vector of json");
}

/// The value that the first of these vectors was made of, made here.
#[test]
fn an_object_has_the_order_of_javascript_however_it_is_made() {
    let object = Object::new()
        .with("b", 1)
        .with(
            "a",
            vec![
                Value::Number(1.5),
                1e21.into(),
                1e-7.into(),
                (-0.0).into(),
                JsString::from_utf16(&[b'x'.into(), 0x2028, 0xd800]).into(),
            ],
        )
        .with("10", "ten")
        .with("2", "two")
        .with("d", None::<bool>);
    assert_eq!(
        stringify(&object.into()),
        "{\"2\":\"two\",\"10\":\"ten\",\"b\":1,\"a\":[1.5,1e+21,1e-7,0,\"x\u{2028}\\ud800\"],\"d\":null}"
    );
}

#[test]
fn an_object_keeps_places_and_takes_the_last_value() {
    let mut object = Object::new();
    assert_eq!(object.insert("z", 1), None);
    assert_eq!(object.insert("7", 1), None);
    assert_eq!(object.insert("__proto__", 1), None);
    assert_eq!(object.insert("z", 2), Some(1.into()));
    assert_eq!(object.insert("7", 2), Some(1.into()));
    assert_eq!(stringify(&object.clone().into()), r#"{"7":2,"z":2,"__proto__":1}"#);
    assert_eq!((object.remove("z"), object.remove("z"), object.remove("7")), (Some(2.into()), None, Some(2.into())));
    assert_eq!(object.len(), 1);
    assert_eq!(object.get("__proto__"), Some(&1.into()));
    assert_eq!(object.get_js(&"__proto__".into()), Some(&1.into()));
    assert!(!object.contains_key("7"));
}

/// Small and large objects are kept differently, and must not differ in anything else.
#[test]
fn an_object_behaves_the_same_at_any_size() {
    let mut object = Object::new();
    let key = |n: u32| format!("key {}", n.wrapping_mul(2_654_435_761) % 1_000);
    let mut expected: Vec<(String, f64)> = Vec::new();
    for n in 0..200 {
        let old = expected.iter_mut().find(|(name, _)| *name == key(n));
        let known = old.map(|(_, value)| std::mem::replace(value, n.into()));
        if known.is_none() {
            expected.push((key(n), n.into()));
        }
        assert_eq!(object.insert(key(n), n), known.map(Value::Number));
        if n % 7 == 3 {
            let (gone, value) = expected.remove(expected.len() / 2);
            assert_eq!(object.remove(&gone), Some(value.into()));
            assert_eq!(object.get(&gone), None);
        }
        assert_eq!(object.len(), expected.len());
        assert!(
            object.iter().map(|(key, value)| (key.to_string(), value.as_f64().unwrap())).eq(expected.iter().cloned())
        );
        assert!(expected.iter().all(|(key, value)| object.get(key) == Some(&Value::Number(*value))));
        assert_eq!(parse(stringify(&object.clone().into())), Ok(object.clone().into()));
    }
    *object.get_mut(&expected[0].0).unwrap() = Value::Null;
    assert_eq!(object.iter().next().unwrap().1, &Value::Null);
}

#[test]
fn white_space_is_that_of_javascript() {
    assert_eq!(trim("\u{feff}\u{a0}\u{2028}\t a \u{3000}\u{1680}"), "a");
    assert_eq!(trim("\u{85}a\u{200b}"), "\u{85}a\u{200b}");
}

/// On a stack smaller than any that threads get: nothing is recursive but what the limit bounds.
#[test]
fn nesting_is_bounded() {
    let work = || {
        let nested = |depth: usize| ["[".repeat(depth), "]".repeat(depth)].concat();
        let deep = parse(nested(MAX_DEPTH)).unwrap();
        assert_eq!(stringify(&deep), nested(MAX_DEPTH));
        assert_eq!(deep.clone(), deep);
        assert_eq!(to_js_string(&deep), Some("".into()));
        assert_eq!(parse(nested(MAX_DEPTH + 1)), Err(JsonError::TooDeep));
        assert_eq!(parse("[".repeat(10_000_000)), Err(JsonError::TooDeep));
        assert_eq!(parse(r#"{"a":"#.repeat(1_000_000)), Err(JsonError::TooDeep));
        let objects = [r#"{"a":"#.repeat(MAX_DEPTH), "1".into(), "}".repeat(MAX_DEPTH)].concat();
        let deep = parse(&objects).unwrap();
        assert_eq!(stable_stringify(&deep), objects);
        assert_eq!(deep.clone(), deep);
    };
    std::thread::Builder::new().stack_size(1 << 20).spawn(work).unwrap().join().unwrap();
}

#[test]
fn errors_tell_the_place() {
    assert_eq!(parse("[1,2,x]"), Err(JsonError::Syntax { at: 5 }));
    assert_eq!(parse(""), Err(JsonError::Syntax { at: 0 }));
    assert_eq!(parse("\"abc"), Err(JsonError::Syntax { at: 4 }));
}

fn string() -> impl Strategy<Value = JsString> {
    prop_oneof![
        any::<String>().prop_map(JsString::from),
        proptest::collection::vec(prop_oneof![any::<u16>(), 0xd7f0u16..0xe010, 0u16..0x80], 0..12)
            .prop_map(|units| JsString::from_utf16(&units)),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<f64>()
            .prop_filter("what is not finite is written as null", |number| number.is_finite())
            .prop_map(Value::Number),
        any::<i32>().prop_map(Value::from),
        string().prop_map(Value::String),
    ];
    leaf.prop_recursive(6, 64, 8, |inner| {
        let key = prop_oneof![string(), any::<u32>().prop_map(|index| index.to_string().into())];
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..8).prop_map(Value::Array),
            proptest::collection::vec((key, inner), 0..8)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(value in value()) {
        let text = stringify(&value);
        let again = parse(&text).unwrap();
        prop_assert_eq!(&again, &value);
        prop_assert_eq!(stringified_len(&value), text.len());
        prop_assert_eq!(&parse(stringify_pretty(&value)).unwrap(), &value);
        let sorted = stable_stringify(&value);
        prop_assert_eq!(stable_stringify(&parse(&sorted).unwrap()), sorted);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(value) = parse(&bytes) {
            prop_assert_eq!(parse(stringify(&value)).map(|value| stringify(&value)), Ok(stringify(&value)));
        }
    }

    #[test]
    fn any_text_of_json_characters_is_read_or_refused_as_serde_does(text in r#"[\[\]{}:,"\\ a0-9eE.+u-]{0,24}"#) {
        let ours = parse(&text);
        let serde: Result<serde_json::Value, _> = serde_json::from_str(&text);
        // Serde refuses numbers beyond the range of doubles and lone surrogates, which JavaScript takes.
        if serde.is_ok() {
            prop_assert!(ours.is_ok(), "{}", text);
        }
        if let (Ok(ours), Err(_)) = (&ours, &serde) {
            prop_assert!(text.contains("\\u") || text.contains(['e', 'E']), "{} {}", text, ours);
        }
    }

    #[test]
    fn strings_are_their_code_units(units in proptest::collection::vec(prop_oneof![any::<u16>(), 0xd7f0u16..0xe010], 0..20),
                                    others in proptest::collection::vec(prop_oneof![any::<u16>(), 0xd7f0u16..0xe010], 0..20)) {
        let (a, b) = (JsString::from_utf16(&units), JsString::from_utf16(&others));
        prop_assert_eq!(a.encode_utf16().collect::<Vec<_>>(), units.clone());
        prop_assert_eq!(a.utf16_len(), units.len());
        prop_assert_eq!(a.cmp(&b), units.cmp(&others));
        prop_assert_eq!(a == b, units == others);
        prop_assert_eq!(a.to_str_lossy(), String::from_utf16_lossy(&units));
        prop_assert_eq!(a.as_str().is_some(), String::from_utf16(&units).is_ok());
    }

    #[test]
    fn any_text_is_converted(text in any::<String>(), radix in 0u32..40) {
        let _ = (string_to_number(&text), parse_float(&text), parse_int(&text, radix), trim(&text));
    }
}
