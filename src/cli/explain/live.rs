//! The last decision of a running controller.

use std::io::Write as _;

use anyhow::Context as _;
use serde::Deserialize;
use tidegate_core::scaling::{Decision, explain};
use tidegate_runtime::ask::{self, AskError};

use crate::exit::Usage;

/// Path of the last observation and decision of a scaler.
const DECISION_PATH: &str = "/v1/decision";

/// What of a controller's answer is shown.
#[derive(Deserialize)]
struct Answer {
    decision: Decision,
    #[serde(default)]
    problems: Vec<String>,
    #[serde(default)]
    last_change: Option<String>,
}

/// Asks the controller at `url` and shows what it says.
///
/// # Errors
/// An option that cannot be used, or a controller that does not answer.
pub(super) async fn run(url: &str, scaler: Option<&str>) -> anyhow::Result<()> {
    let query: Vec<_> = scaler.into_iter().map(|name| ("scaler", name)).collect();
    let answer: Answer = match ask::get(url, DECISION_PATH, &query).await {
        Ok(answer) => answer,
        Err(AskError::Url { url }) => return Err(Usage::new("--url", url, "http://HOST:PORT").into()),
        // A controller says why; another server knows nothing of that path.
        Err(AskError::Refused { status: 404, why }) if why.is_empty() => {
            return Err(Usage::new("--url", url, "where a controller listens").into());
        }
        Err(AskError::Refused { status: 404, why }) => return Err(Usage::said("--scaler", why).into()),
        Err(problem) => return Err(problem).with_context(|| format!("--url {url}")),
    };
    let mut out = std::io::stdout();
    write!(out, "{}", explain(&answer.decision))?;
    if let Some(change) = answer.last_change.filter(|_| !answer.decision.changes()) {
        writeln!(out, "\nlast change {change}")?;
    }
    for problem in answer.problems {
        writeln!(out, "problem     {problem}")?;
    }
    Ok(())
}
