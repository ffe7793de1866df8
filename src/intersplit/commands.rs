//! The terminal's `/expense_*` commands, with the original's texts (intercom `contract/protocol.js`).

use data_encoding::BASE64;
use encoding::json::{JsString, Value, trim};

use super::amount::{format_cents, format_signed};
use super::event::names;
use super::export::{self, Format};
use super::iso_time::iso_time;
use super::room::switch;
use super::{Draft, InterSplit};
use crate::arguments::Arguments;

/// The commands, in the order in which the original tries their names.
pub const COMMANDS: [&str; 7] = [
    "/expense_add",
    "/expense_list",
    "/expense_balance",
    "/expense_clear",
    "/expense_persist",
    "/expense_restore",
    "/expense_export",
];

const CHANNEL: &[&str] = &["channel", "ch", "room"];

/// Takes what a command prints. One text may have several lines.
pub type Print<'a> = &'a mut (dyn FnMut(String) + Send);

/// Runs a line if it is one of [`COMMANDS`]; `false` if it is not.
///
/// # Errors
/// The text of what the original throws.
pub async fn run(split: &InterSplit, line: &str, out: Print<'_>) -> Result<bool, String> {
    let Some(command) = COMMANDS.iter().find(|name| line.starts_with(**name)) else { return Ok(false) };
    if *command == "/expense_persist" {
        // As in the original of a peer that is no writer: the contract plane is not here.
        out("Peer is not writable; cannot persist contract state.".into());
        return Ok(true);
    }
    let arguments = Arguments::parse(line)?;
    let channel = arguments.text(CHANNEL).unwrap_or(split.default_channel());
    match *command {
        "/expense_add" => add(split, channel, &arguments, out).await,
        "/expense_list" => list(split, channel, out)?,
        "/expense_balance" => balance(split, channel, out),
        "/expense_clear" => clear(split, channel, out).await,
        "/expense_restore" => restore(split, channel, &arguments, out).await,
        _ => export(split, channel, &arguments, out),
    }
    Ok(true)
}

async fn add(split: &InterSplit, channel: &str, arguments: &Arguments, out: Print<'_>) {
    let value = |names: &[&str]| arguments.text(names).map(Value::from);
    let payer = value(&["payer", "p"]);
    let amount = value(&["amount", "a"]);
    let members = names(value(&["split", "members", "with"]).as_ref()).unwrap_or_default();
    let (Some(payer), Some(amount), false) = (payer, amount, members.is_empty()) else {
        return out(
            r#"Usage: /expense_add --channel "<name>" --payer "<name>" --amount "<n>" --split "a,b,c" [--note "<text>"]"#
                .into(),
        );
    };
    let note = value(&["note", "memo"]).unwrap_or_default();
    let draft = Draft { channel: channel.into(), payer, amount: Some(amount), split: members.into(), note };
    out(match split.add_expense(draft).await {
        Ok(added) => format!(
            "[expense:{}] added {} by {} split={}",
            added.channel,
            format_cents(added.expense.amount_cents as f64),
            added.expense.payer,
            added.expense.split_text()
        ),
        Err(error) => error.to_string(),
    });
}

fn list(split: &InterSplit, channel: &str, out: Print<'_>) -> Result<(), String> {
    let entries = split.list(&channel.into());
    if entries.is_empty() {
        out(format!("[expense:{channel}] no expenses yet."));
        return Ok(());
    }
    out(format!("[expense:{channel}] entries={}", entries.len()));
    for entry in entries {
        let expense = &entry.expense;
        let time = iso_time(expense.ts).ok_or("Invalid time value")?;
        let note = if expense.note.is_empty() { "-".into() } else { expense.note.to_str_lossy() };
        out(format!(
            "- {time} | {} paid {} | split={} | note={note}",
            expense.payer,
            format_cents(expense.amount_cents as f64),
            expense.split_text()
        ));
    }
    Ok(())
}

fn balance(split: &InterSplit, channel: &str, out: Print<'_>) {
    let summary = split.summary(&channel.into());
    let total = format_cents(summary.total_cents);
    out(format!("[expense:{}] entries={} total={total}", summary.channel, summary.event_count));
    if summary.balances.is_empty() {
        return out("- no balances yet.".into());
    }
    out("- balances:".into());
    for balance in &summary.balances {
        out(format!("  {}: {}", balance.member, format_signed(balance.cents)));
    }
    if summary.settlements.is_empty() {
        return out("- settlements: none".into());
    }
    out("- settlements:".into());
    for payment in &summary.settlements {
        out(format!("  {} -> {}: {}", payment.from, payment.to, format_cents(payment.amount_cents)));
    }
}

async fn clear(split: &InterSplit, channel: &str, out: Print<'_>) {
    out(match split.clear(&channel.into()).await {
        Ok(channel) => format!("[expense:{channel}] ledger cleared."),
        Err(error) => error.to_string(),
    });
}

async fn restore(split: &InterSplit, channel: &str, arguments: &Arguments, out: Print<'_>) {
    let channel = trim(channel).to_lowercase();
    if channel.is_empty() {
        return out(r#"Usage: /expense_restore --channel "<name>" [--confirmed 1|0] [--replace 1]"#.into());
    }
    let replace = arguments.text(&["replace"]).map(Value::from);
    let replace = switch(replace.as_ref(), false).unwrap_or_default();
    out(match split.restore_local(&channel.as_str().into(), replace).await {
        Ok(Some(restored)) => format!(
            "[expense:{}] restored from local snapshot added={} total={} replace={}",
            restored.channel,
            restored.added,
            restored.total,
            u8::from(replace)
        ),
        Ok(None) => format!("[expense:{channel}] no persisted snapshot found."),
        Err(error) => error.to_string(),
    });
}

fn export(split: &InterSplit, channel: &str, arguments: &Arguments, out: Print<'_>) {
    let channel = JsString::from(trim(channel).to_lowercase());
    if channel.is_empty() {
        return out(r#"Usage: /expense_export --channel "<name>" [--format text|json|csv]"#.into());
    }
    let format = Format::of(&trim(arguments.text(&["format"]).unwrap_or("text")).to_lowercase());
    let now = iso_time(split.now() as f64).unwrap_or_default();
    let data = export::for_terminal(&split.summary(&channel), format, &now);
    let base64 = BASE64.encode(data.as_bytes());
    out(data);
    if format != Format::Csv {
        out(format!("export_b64: {base64}"));
    }
}
