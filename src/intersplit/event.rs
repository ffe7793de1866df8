//! An expense, and how one is read.

use encoding::json::{JsString, Object, Value, parse_int, to_js_string, truthy};

use super::amount::whole_cents;
use super::error::Throw;

/// One expense of a room.
#[derive(Debug, Clone, PartialEq)]
pub struct Expense {
    /// What makes it known again.
    pub tx_id: JsString,
    /// Who paid, in lower case.
    pub payer: JsString,
    /// What was paid: 1 to 2^53 - 1.
    pub amount_cents: u64,
    /// Who shares it, in lower case, each once. Not empty.
    pub split: Vec<JsString>,
    /// A note, perhaps empty.
    pub note: JsString,
    /// When, in milliseconds since 1970: any finite number, as its author says.
    pub ts: f64,
    /// The address of its author, as that says; any JSON.
    pub by: Value,
}

impl Expense {
    /// Reads an expense as JavaScript peers read it; `now` stands in for a missing time. `Ok(None)`: it is not valid.
    ///
    /// # Errors
    /// [`Throw`] where JavaScript throws.
    pub fn read(event: Option<&Value>, now: u64) -> Result<Option<Expense>, Throw> {
        let Some(event) = event.filter(|event| event.is_object_like()) else { return Ok(None) };
        let tx_id = text(event.get("txId"))?;
        let payer = member(event.get("payer"))?;
        let amount = match event.get("amountCents") {
            Some(value) => parse_int(&to_js_string(value).ok_or(Throw)?.to_str_lossy(), 10),
            None => f64::NAN,
        };
        let split = members(event.get("split"))?;
        let Some(amount_cents) = whole_cents(amount) else { return Ok(None) };
        if tx_id.is_empty() || payer.is_empty() || split.is_empty() {
            return Ok(None);
        }
        let note = text(event.get("note"))?;
        let ts = event.get("ts").and_then(Value::as_f64).filter(|ts| ts.is_finite()).unwrap_or(now as f64);
        let by = event.get("by").cloned().unwrap_or_default();
        Ok(Some(Expense { tx_id, payer, amount_cents, split, note, ts, by }))
    }

    /// The expense as it is sent, stored and shown.
    pub fn to_value(&self) -> Object {
        Object::new()
            .with("txId", self.tx_id.clone())
            .with("payer", self.payer.clone())
            .with("amountCents", self.amount_cents)
            .with("split", self.split.clone())
            .with("note", self.note.clone())
            .with("ts", self.ts)
            .with("by", self.by.clone())
    }

    /// The members, parted by commas.
    pub fn split_text(&self) -> String {
        self.split.iter().map(|member| member.to_str_lossy()).collect::<Vec<_>>().join(",")
    }
}

/// The original's `normalizeText`: the trimmed text of what counts as true.
pub(super) fn text(value: Option<&Value>) -> Result<JsString, Throw> {
    match value.filter(|value| truthy(value)) {
        Some(value) => Ok(to_js_string(value).ok_or(Throw)?.trim().into_owned()),
        None => Ok(JsString::default()),
    }
}

/// The original's `normalizeMember`.
pub(super) fn member(value: Option<&Value>) -> Result<JsString, Throw> {
    Ok(text(value)?.to_lowercase())
}

/// The original's `parseMembers`: the names of an array, or of text with commas, each once.
pub(super) fn members(value: Option<&Value>) -> Result<Vec<JsString>, Throw> {
    let mut members = indexmap::IndexSet::new();
    for name in names(value)? {
        members.insert(name);
    }
    Ok(members.into_iter().collect())
}

/// The names of an array, or of text with commas, in lower case, without empty ones.
pub(super) fn names(value: Option<&Value>) -> Result<Vec<JsString>, Throw> {
    let names = match value {
        Some(Value::Array(values)) => values.iter().map(|value| member(Some(value))).collect::<Result<Vec<_>, _>>()?,
        Some(Value::String(text)) => split_at_commas(text),
        _ => Vec::new(),
    };
    Ok(names.into_iter().filter(|name| !name.is_empty()).collect())
}

fn split_at_commas(text: &JsString) -> Vec<JsString> {
    match text.as_str() {
        Some(text) => text.split(',').map(|name| JsString::from(encoding::json::trim(name)).to_lowercase()).collect(),
        None => {
            let units: Vec<u16> = text.encode_utf16().collect();
            let names = units.split(|unit| *unit == u16::from(b','));
            names.map(|name| JsString::from_utf16(name).trim().to_lowercase()).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use encoding::json::parse;

    use super::*;

    fn read(text: &str) -> Option<String> {
        let event = parse(text).expect("valid JSON");
        let expense = Expense::read(Some(&event), 7).expect("nothing throws");
        expense.map(|expense| Value::from(expense.to_value()).to_string())
    }

    #[test]
    fn expenses_are_read_as_javascript_reads_them() {
        let minimal = r#"{"txId":" t ","payer":" BOB ","amountCents":"12.9abc","split":"A, b,a,,B "}"#;
        let read_back = r#"{"txId":"t","payer":"bob","amountCents":12,"split":["a","b"],"note":"","ts":7,"by":null}"#;
        assert_eq!(read(minimal).as_deref(), Some(read_back));
        let full = r#"{"by":{"x":1},"ts":-0.5,"note":5,"split":[["x","y"],null,0,"x,y",true],"amountCents":[7,8],"payer":1e21,"txId":true,"extra":1}"#;
        let read_back = r#"{"txId":"true","payer":"1e+21","amountCents":7,"split":["x,y","true"],"note":"5","ts":-0.5,"by":{"x":1}}"#;
        assert_eq!(read(full).as_deref(), Some(read_back));
    }

    #[test]
    fn what_javascript_refuses_is_refused() {
        for event in [
            "null",
            "5",
            "[]",
            "{}",
            r#"{"payer":"b","amountCents":1,"split":"a"}"#,
            r#"{"txId":"t","amountCents":1,"split":"a"}"#,
            r#"{"txId":"t","payer":"b","split":"a"}"#,
            r#"{"txId":"t","payer":"b","amountCents":0.9,"split":"a"}"#,
            r#"{"txId":"t","payer":"b","amountCents":-1,"split":"a"}"#,
            r#"{"txId":"t","payer":"b","amountCents":"0x10","split":"a"}"#,
            r#"{"txId":"t","payer":"b","amountCents":9007199254740992,"split":"a"}"#,
            r#"{"txId":"t","payer":"b","amountCents":1,"split":", ,"}"#,
            r#"{"txId":"t","payer":"b","amountCents":1,"split":{"0":"a"}}"#,
        ] {
            assert_eq!(read(event), None, "{event}");
        }
        let event = parse(r#"{"txId":{"toString":1}}"#).expect("valid JSON");
        assert_eq!(Expense::read(Some(&event), 7), Err(Throw));
    }

    #[test]
    fn lone_surrogates_stay_in_names() {
        let event = r#"{"txId":"t","payer":"\ud800A","amountCents":1,"split":" \udc00B ,c"}"#;
        let read_back =
            r#"{"txId":"t","payer":"\ud800a","amountCents":1,"split":["\udc00b","c"],"note":"","ts":7,"by":null}"#;
        assert_eq!(read(event).as_deref(), Some(read_back));
    }
}
