//! A room's account as text, JSON and CSV: as clients of the bridge get it, and as the terminal prints it. The two differ, as in
//! the original.

use encoding::json::{Object, Value, stringify_pretty};

use super::amount::{format_cents, format_signed};
use super::summary::{Settlement, Summary};

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
pub fn for_bridge(summary: &Summary, format: Format) -> String {
    match format {
        Format::Csv => csv(summary),
        Format::Json => stringify_pretty(&summary.to_value().into()),
        Format::Text => {
            let mut lines = vec!["InterSplit Settlement Export".to_owned()];
            lines.extend(head(summary));
            lines.push("settlements:".into());
            lines.extend(payments(&summary.settlements));
            lines.join("\n")
        }
    }
}

/// What the terminal prints; `generated_at` is the time in ISO 8601.
pub fn for_terminal(summary: &Summary, format: Format, generated_at: &str) -> String {
    match format {
        Format::Csv => csv(summary),
        Format::Json => stringify_pretty(&document(summary, generated_at).into()),
        Format::Text => {
            let mut lines = vec!["InterSplit Settlement Export".to_owned(), format!("generated_at: {generated_at}")];
            lines.extend(head(summary));
            lines.push("balances:".into());
            let balances = summary.balances.iter();
            lines.extend(balances.map(|balance| format!("- {}: {}", balance.member, format_signed(balance.cents))));
            if summary.balances.is_empty() {
                lines.push("- none".into());
            }
            lines.push("settlements:".into());
            lines.extend(payments(&summary.settlements));
            lines.join("\n")
        }
    }
}

fn head(summary: &Summary) -> [String; 3] {
    [
        format!("channel: {}", summary.channel),
        format!("events: {}", summary.event_count),
        format!("total: {}", format_cents(summary.total_cents)),
    ]
}

fn payments(settlements: &[Settlement]) -> Vec<String> {
    if settlements.is_empty() {
        return vec!["- none".into()];
    }
    let line =
        |payment: &Settlement| format!("- {} -> {}: {}", payment.from, payment.to, format_cents(payment.amount_cents));
    settlements.iter().map(line).collect()
}

/// Fields are not quoted, as in the original.
fn csv(summary: &Summary) -> String {
    let row = |payment: &Settlement| format!("{},{},{}", payment.from, payment.to, format_cents(payment.amount_cents));
    let rows = summary.settlements.iter().map(row);
    std::iter::once("from,to,amount".to_owned()).chain(rows).collect::<Vec<_>>().join("\n")
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
