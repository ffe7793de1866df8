//! JavaScript's JSON: what parses is written, parses again to the same, and is then written the same.
#![no_main]

use encoding::json::{
    JsString, Value, parse, stable_stringify, string_to_number, stringified_len, stringify, stringify_pretty,
    to_js_string, to_number,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let text = JsString::from_utf8_lossy(data);
    let _ = (text.to_lowercase(), text.trim(), text.utf16_len());
    assert_eq!(JsString::from_utf16(&text.encode_utf16().collect::<Vec<_>>()), text);
    let _ = string_to_number(&text.to_str_lossy());
    let Ok(value) = parse(data) else { return };
    let written = stringify(&value);
    assert_eq!(stringified_len(&value), written.len());
    let again = parse(&written).expect("what was written parses");
    assert_eq!(stringify(&again), written);
    let pretty = parse(stringify_pretty(&value)).expect("what was written prettily parses");
    assert_eq!(stringify(&pretty), written);
    let stable = stable_stringify(&value);
    if let Ok(sorted) = parse(&stable) {
        assert_eq!(stable_stringify(&sorted), stable);
    }
    let _ = (to_number(&value), to_js_string(&value));
    if let Value::Object(object) = &value {
        for key in object.keys() {
            assert!(object.get_js(key).is_some());
        }
    }
});
