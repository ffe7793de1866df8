//! Lines of JSON in and out.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, Stdin};

/// Whatever went wrong, as text for the other side.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The fields of an answer.
pub(crate) type Answer = Result<Value, Failure>;

/// Requests from standard input.
pub(crate) struct Lines(tokio::io::Lines<BufReader<Stdin>>);

#[derive(Deserialize)]
struct Request<T> {
    id: u64,
    #[serde(flatten)]
    op: T,
}

impl Lines {
    pub(crate) fn new() -> Self {
        Self(BufReader::new(tokio::io::stdin()).lines())
    }

    /// The next request and its id; `None` when the input has ended.
    pub(crate) async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<(u64, T)>, Failure> {
        let Some(line) = self.0.next_line().await? else { return Ok(None) };
        let request: Request<T> = serde_json::from_str(&line).map_err(|error| format!("{line}: {error}"))?;
        Ok(Some((request.id, request.op)))
    }
}

pub(crate) fn say(value: &Value) {
    println!("{value}");
}

/// `{ "id": id, ... }` with the fields of the answer, or with `error`.
pub(crate) fn answer(id: u64, answer: Answer) {
    let mut value = answer.unwrap_or_else(|error| json!({ "error": error.to_string() }));
    value["id"] = id.into();
    say(&value);
}
