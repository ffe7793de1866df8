//! A room's account as text, JSON and CSV: as clients of the bridge get it, and as the terminal prints it. The two differ, as in
//! the original.

use encoding::json::{JsString, Object, Value, stringify_pretty};

use super::amount::{format_cents, format_signed};
use super::summary::Summary;

/// A form of export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Lines for people. What is neither `json` nor `csv` is this.
    Text,
    /// JSON, indented by two.
    Json,
    /// `from,to,amount` and a line for each payment.
    Csv,
}

impl Format {
    /// The format of this name, in lower case.
    pub fn of(name: &str) -> Format {
        match name {
            "json" => Format::Json,
            "csv" => Format::Csv,
            _ => Format::Text,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Format::Text => "text",
            Format::Json => "json",
            Format::Csv => "csv",
        }
    }
}

/// What a client of the bridge gets.
pub fn for_bridge(summary: &Summary, format: Format) -> JsString {
    let mut text = Text::default();
    match format {
        Format::Csv => text.csv(summary),
        Format::Json => return stringify_pretty(&summary.to_value().into()).into(),
        Format::Text => {
            text.push("InterSplit Settlement Export\n");
            text.head(summary);
            text.payments(summary);
        }
    }
    JsString::from_utf16(&text.0)
}

/// What the terminal prints; `generated_at` is the time in ISO 8601.
pub fn for_terminal(summary: &Summary, format: Format, generated_at: &str) -> String {
    let mut text = Text::default();
    match format {
        Format::Csv => text.csv(summary),
        Format::Json => return stringify_pretty(&document(summary, generated_at).into()),
        Format::Text => {
            text.push(&format!("InterSplit Settlement Export\ngenerated_at: {generated_at}\n"));
            text.head(summary);
            text.push("balances:\n");
            for balance in &summary.balances {
                text.push("- ");
                text.name(&balance.member);
                text.push(&format!(": {}\n", format_signed(balance.cents)));
            }
            if summary.balances.is_empty() {
                text.push("- none\n");
            }
            text.payments(summary);
        }
    }
    String::from_utf16_lossy(&text.0)
}

/// Text in UTF-16, because names may have half of a surrogate pair, which a client gets as JavaScript would send it.
#[derive(Default)]
struct Text(Vec<u16>);

impl Text {
    fn push(&mut self, text: &str) {
        self.0.extend(text.encode_utf16());
    }

    fn name(&mut self, name: &JsString) {
        self.0.extend(name.encode_utf16());
    }

    fn head(&mut self, summary: &Summary) {
        self.push("channel: ");
        self.name(&summary.channel);
        let total = format_cents(summary.total_cents);
        self.push(&format!("\nevents: {}\ntotal: {total}\n", summary.event_count));
    }

    /// The last of the lines, without an end of its own.
    fn payments(&mut self, summary: &Summary) {
        self.push("settlements:");
        for payment in &summary.settlements {
            self.push("\n- ");
            self.name(&payment.from);
            self.push(" -> ");
            self.name(&payment.to);
            self.push(&format!(": {}", format_cents(payment.amount_cents)));
        }
        if summary.settlements.is_empty() {
            self.push("\n- none");
        }
    }

    /// Fields are not quoted, as in the original.
    fn csv(&mut self, summary: &Summary) {
        self.push("from,to,amount");
        for payment in &summary.settlements {
            self.push("\n");
            self.name(&payment.from);
            self.push(",");
            self.name(&payment.to);
            self.push(&format!(",{}", format_cents(payment.amount_cents)));
        }
    }
}

fn document(summary: &Summary, generated_at: &str) -> Object {
    let balances = summary.balances.iter().map(|balance| {
        let who = Object::new().with("member", balance.member.clone()).with("cents", balance.cents);
        let who = who.with("amount", format_cents(balance.cents.abs()));
        Value::from(who.with("direction", if balance.cents >= 0.0 { "receives" } else { "owes" }))
    });
    let settlements = summary.settlements.iter().map(|payment| {
        let parties = Object::new().with("from", payment.from.clone()).with("to", payment.to.clone());
        let parties = parties.with("cents", payment.amount_cents);
        Value::from(parties.with("amount", format_cents(payment.amount_cents)))
    });
    Object::new()
        .with("app", "intersplit")
        .with("version", 1)
        .with("generatedAt", generated_at)
        .with("channel", summary.channel.clone())
        .with("eventCount", summary.event_count)
        .with("total", format_cents(summary.total_cents))
        .with("balances", balances.collect::<Vec<_>>())
        .with("settlements", settlements.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::super::{ledger::summarize, summary::Settlement};
    use super::*;

    #[test]
    fn half_a_surrogate_pair_reaches_a_client_as_it_is() {
        let [lone, whole] = [JsString::from_utf16(&[0xd800]), JsString::from("zoë")];
        let payment = Settlement { from: lone.clone(), to: whole, amount_cents: 150.0 };
        let mut summary = summarize(lone, &[]);
        summary.settlements.push(payment);
        let shown = |format| Value::from(for_bridge(&summary, format)).to_string();
        assert_eq!(shown(Format::Csv), r#""from,to,amount\n\ud800,zoë,1.50""#);
        assert!(shown(Format::Text).starts_with(r#""InterSplit Settlement Export\nchannel: \ud800\nevents: 0\n"#));
        assert!(shown(Format::Text).ends_with(r#"settlements:\n- \ud800 -> zoë: 1.50""#));
        assert_eq!(for_terminal(&summary, Format::Csv, ""), "from,to,amount\n\u{fffd},zoë,1.50");
    }
}
