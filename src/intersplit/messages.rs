//! The `expense_*` messages of SC-Bridge clients, and the original's replies to them.

use encoding::json::{JsString, Object, Value, to_js_string, truthy};

use super::error::{InterSplitError, Throw};
use super::event::{member, names};
use super::export::{self, Format};
use super::room::switch;
use super::{Draft, Entry, InterSplit};

impl InterSplit {
    /// Answers a message of a bridge client by its type.
    ///
    /// Beyond the original: `expense_list` with `"verify": true` adds to each expense whether its author's signature holds, and
    /// its author's public key.
    ///
    /// # Errors
    /// The text of the error that the client gets.
    pub async fn answer(&self, kind: &str, message: &Value) -> Result<Object, String> {
        match kind {
            "expense_add" => self.answer_add(message).await,
            "expense_list" => self.answer_list(message),
            "expense_balance" => self.answer_balance(message),
            "expense_clear" => self.answer_clear(message).await,
            "expense_export" => self.answer_export(message),
            // The contract plane, which this is stored to, is not here: as in the original of a peer that is no writer.
            "expense_persist" => Err("Peer is not writable.".into()),
            "expense_restore" => self.answer_restore(message).await,
            _ => Err(format!("Unknown type: {kind}")),
        }
    }

    async fn answer_add(&self, message: &Value) -> Result<Object, String> {
        let channel = self.channel(message).map_err(text_of)?;
        let payer = member(message.get("payer")).map_err(text_of)?;
        let split = names(message.get("split")).map_err(text_of)?;
        let amount = message.get("amount").cloned();
        if channel.is_empty() || payer.is_empty() || amount.is_none() || split.is_empty() {
            return Err("Missing fields. Required: channel, payer, amount, split.".into());
        }
        let note = message.get("note").cloned().unwrap_or_default();
        let draft = Draft { channel, payer: payer.into(), amount, split: split.into(), note };
        let added = self.add_expense(draft).await.map_err(text_of)?;
        Ok(Object::new()
            .with("type", "expense_added")
            .with("channel", added.channel)
            .with("event", added.expense.to_value())
            .with("broadcasted", added.broadcasted))
    }

    fn answer_list(&self, message: &Value) -> Result<Object, String> {
        let channel = self.named_channel(message)?;
        let verify = message.get("verify").is_some_and(truthy);
        let entries = self.list(&channel);
        let show = |entry: &Entry| {
            let event = entry.expense.to_value();
            if !verify {
                return Value::from(event);
            }
            let author = entry.proof.as_ref().map(|proof| proof.author.as_str());
            event.with("verified", author.is_some()).with("author", author).into()
        };
        let events: Vec<Value> = entries.iter().map(|entry| show(entry)).collect();
        let reply = Object::new().with("type", "expense_list").with("channel", channel);
        Ok(reply.with("count", events.len()).with("events", events))
    }

    fn answer_balance(&self, message: &Value) -> Result<Object, String> {
        let channel = self.named_channel(message)?;
        Ok(Object::new().with("type", "expense_balance").with("summary", self.summary(&channel).to_value()))
    }

    async fn answer_clear(&self, message: &Value) -> Result<Object, String> {
        let channel = self.named_channel(message)?;
        let channel = self.clear(&channel).await.map_err(text_of)?;
        Ok(Object::new().with("type", "expense_cleared").with("channel", channel).with("ok", true))
    }

    fn answer_export(&self, message: &Value) -> Result<Object, String> {
        let channel = self.named_channel(message)?;
        let format = match message.get("format").filter(|format| truthy(format)) {
            Some(format) => {
                let name = to_js_string(format).ok_or(Throw).map_err(text_of)?.trim().to_lowercase();
                Format::of(&name.to_str_lossy())
            }
            None => Format::Text,
        };
        let summary = self.summary(&channel);
        Ok(Object::new()
            .with("type", "expense_export")
            .with("channel", summary.channel.clone())
            .with("format", format.name())
            .with("data", export::for_bridge(&summary, format))
            .with("summary", summary.to_value()))
    }

    async fn answer_restore(&self, message: &Value) -> Result<Object, String> {
        let channel = self.named_channel(message)?.to_lowercase();
        let confirmed = switch(message.get("confirmed"), true).map_err(text_of)?;
        let replace = switch(message.get("replace"), false).map_err(text_of)?;
        let restored = self.restore_local(&channel, replace).await;
        let restored = restored.map_err(|error| format!("Restore failed: {error}"))?;
        let restored = restored.ok_or("No persisted snapshot found.")?;
        Ok(Object::new()
            .with("type", "expense_restored")
            .with("channel", restored.channel)
            .with("added", restored.added)
            .with("total", restored.total)
            .with("confirmed", confirmed)
            .with("replace", replace)
            .with("source", "local"))
    }

    /// The room that a message names, or the default one.
    fn channel(&self, message: &Value) -> Result<JsString, Throw> {
        match message.get("channel").filter(|channel| truthy(channel)) {
            Some(channel) => Ok(to_js_string(channel).ok_or(Throw)?.trim().into_owned()),
            None => Ok(self.default_channel().into()),
        }
    }

    fn named_channel(&self, message: &Value) -> Result<JsString, String> {
        let channel = self.channel(message).map_err(text_of)?;
        if channel.is_empty() { Err("Missing channel.".into()) } else { Ok(channel) }
    }
}

fn text_of(error: impl Into<InterSplitError>) -> String {
    error.into().to_string()
}
