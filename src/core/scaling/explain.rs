//! A decision as arithmetic that a person can follow, line by line, with units.
//!
//! Owns the words only: every number is a term of the decision, so that what is shown is what was computed.

use std::fmt::{Display, Formatter, Result};

use super::bounds::Bound;
use super::capacity::MuSource;
use super::forecast::{ForecastModel, Outlook};
use super::sizing::{FILL, FILL_HOLD, FILL_HOTTEST_MORE, ROUNDING};
use super::terms::{Decision, Terms};

/// Returns the decision as lines of text: what was seen, what it needs, which count carries it, and what bound it.
#[must_use]
pub fn explain(decision: &Decision) -> String {
    Told(decision).to_string()
}

struct Told<'a>(&'a Decision);

impl Display for Told<'_> {
    fn fmt(&self, out: &mut Formatter) -> Result {
        write(out, self.0)
    }
}

fn write(out: &mut Formatter, decision: &Decision) -> Result {
    let terms = &decision.terms;
    writeln!(out, "{decision}")?;
    writeln!(out)?;
    if terms.partitions == 0 {
        return writeln!(
            out,
            "lag         not known for {:.0} s; nothing else is concluded",
            terms.blind_secs
        );
    }
    replicas(out, terms)?;
    lag(out, terms)?;
    demand(out, terms)?;
    capacity(out, terms)?;
    if terms.fitting > 0 {
        need(out, terms)?;
        packing(out, terms)?;
        stability(out, terms)?;
    }
    limits(out, decision)
}

fn replicas(out: &mut Formatter, terms: &Terms) -> Result {
    let Terms { current, ready, starting, start_secs, .. } = terms;
    writeln!(out, "replicas    {current} ordered, {ready} consume, {starting} start (D = {start_secs:.1} s)")
}

fn lag(out: &mut Formatter, terms: &Terms) -> Result {
    let Terms { lag_read, backlog, backlog_target, partitions, partitions_unknown, .. } = terms;
    write!(out, "backlog     {lag_read} messages by commits on {partitions} partitions")?;
    if *partitions_unknown > 0 {
        write!(out, " ({partitions_unknown} unknown)")?;
    }
    if terms.partitions_stuck > 0 {
        let Terms { partitions_stuck, backlog_stuck, .. } = terms;
        write!(out, ", {backlog_stuck:.0} of them on {partitions_stuck} that stand still")?;
    }
    if terms.held > 0.0 {
        write!(out, ", and at least {:.0} held by gateways", terms.held)?;
    }
    writeln!(out, ": Q = {backlog:.0} messages; no reason to act below Q_tgt = {backlog_target:.0}")?;
    write!(out, "delay       ")?;
    match terms.delay_secs {
        Some(delay) => write!(out, "{delay:.1} s until the last partition is empty")?,
        None => write!(out, "unknown, or something waits and nothing consumes it")?,
    }
    match terms.age_secs {
        Some(age) => writeln!(out, "; the oldest message waits since {age:.1} s"),
        None => writeln!(out),
    }
}

fn demand(out: &mut Formatter, terms: &Terms) -> Result {
    let Terms { arrivals_short, arrivals_long, arrivals_panic, demand, demand_low, demand_high, .. } = terms;
    write!(
        out,
        "demand      max(15 s mean {arrivals_short:.1}, 60 s mean {arrivals_long:.1}, last 6 s {arrivals_panic:.1}"
    )?;
    for (name, part) in [("offered", terms.offered), ("burst", terms.burst), ("forecast", terms.forecast)] {
        if let Some(rate) = part {
            write!(out, ", {name} {rate:.1}")?;
        }
    }
    writeln!(out, ") = {demand:.1} msg/s; surely {demand_low:.1}, at most {demand_high:.1}")?;
    if terms.censored > 0.0 {
        writeln!(out, "            {:.0} % of what is offered is a guess", 100.0 * terms.censored)?;
    }
    terms.outlook.map_or(Ok(()), |outlook| forecast(out, &outlook, terms.forecast.is_some()))
}

fn forecast(out: &mut Formatter, outlook: &Outlook, used: bool) -> Result {
    let Outlook { horizon_secs, median, q90, covered, loss, loss_persistence, .. } = outlook;
    let model = match outlook.model {
        ForecastModel::HoltWinters => "Holt-Winters",
        ForecastModel::SeasonalNaive => "last period",
    };
    write!(
        out,
        "forecast    {median:.1} msg/s in {horizon_secs:.0} s, nine times in ten below {q90:.1} ({model}"
    )?;
    if let Some(period) = outlook.period_secs {
        write!(out, ", period {:.0} min", period / 60.0)?;
    }
    write!(out, "); {covered} of the last 20 were not exceeded, loss ")?;
    match loss.zip(*loss_persistence) {
        Some((loss, persistence)) => write!(out, "{loss:.2} against {persistence:.2} for no change")?,
        None => write!(out, "not known yet")?,
    }
    let verdict = match (outlook.open, used) {
        (true, true) => "counts",
        (true, false) => "would count, is only shown",
        (false, _) => "does not count",
    };
    writeln!(out, ": {verdict}")
}

fn capacity(out: &mut Formatter, terms: &Terms) -> Result {
    let Some(mu) = terms.mu else {
        return writeln!(
            out,
            "mu          unknown: the group is doubled while its lag grows, until it has shown it"
        );
    };
    let source = match terms.mu_source {
        MuSource::Unknown => "unknown",
        MuSource::Policy => "as configured",
        MuSource::Saturated => "measured on saturated members",
        MuSource::Busy => "by the busy time of consumers",
    };
    write!(out, "mu          {mu:.1} msg/s one replica, {source}")?;
    if let Some(error) = terms.mu_error {
        write!(out, ", +- {:.0} %", 100.0 * error)?;
    }
    if let Some(age) = terms.mu_age_secs {
        write!(out, ", {age:.0} s old")?;
    }
    if terms.clock_speed < 1.0 {
        write!(out, ", at {:.0} % of the clock", 100.0 * terms.clock_speed)?;
    }
    writeln!(out)
}

fn need(out: &mut Formatter, terms: &Terms) -> Result {
    let Terms { demand, backlog, backlog_target, drain_secs, rebalance_secs, moved, fitting, .. } = terms;
    let Terms { need, need_load, need_catch_up, need_growth, need_rebalance, .. } = terms;
    writeln!(out, "need        {need_load:10.1} msg/s  {demand:.1} / {FILL}: the load at its fill")?;
    writeln!(
        out,
        "          + {need_catch_up:10.1} msg/s  max(0, {backlog:.0} - {backlog_target:.0}) / {drain_secs:.0} s: the backlog"
    )?;
    writeln!(
        out,
        "          + {need_growth:10.1} msg/s  {:.0} messages / {drain_secs:.0} s: what comes before replicas are there",
        need_growth * drain_secs
    )?;
    writeln!(
        out,
        "          + {need_rebalance:10.1} msg/s  {demand:.1} x {rebalance_secs:.1} s x {moved:.2} / {drain_secs:.0} s: the \
         rebalance to {fitting}"
    )?;
    writeln!(out, "          = {need:10.1} msg/s")
}

fn packing(out: &mut Formatter, terms: &Terms) -> Result {
    let Terms { fitting, partitions, hottest_load, hottest_partitions, hottest_share, .. } = terms;
    let even = if terms.even { "even" } else { "uneven" };
    let carries = match terms.mu {
        Some(mu) if *hottest_load <= mu * ROUNDING => format!("{hottest_load:.1} <= {mu:.1}"),
        Some(mu) => format!("{hottest_load:.1} > {mu:.1}"),
        None => format!("{hottest_load:.1}"),
    };
    writeln!(
        out,
        "packing     {partitions} {even} partitions (hottest {:.1} %), {} assignor: with {fitting} replicas the hottest \
         has {hottest_partitions} and carries {carries} msg/s, the load at a fill of {:.2}",
        100.0 * hottest_share,
        terms.assignor.as_str(),
        FILL + FILL_HOTTEST_MORE,
    )?;
    writeln!(out, "fits now    {fitting} replicas")
}

fn stability(out: &mut Formatter, terms: &Terms) -> Result {
    let Terms { demand_low, fitting, current, cautious, cautious_most, fitting_most, held_secs, .. } = terms;
    if fitting > current {
        writeln!(
            out,
            "up          only if {demand_low:.1} msg/s do not fit {current} replicas at a fill of {FILL_HOLD}"
        )?;
    } else if cautious_most < current || cautious < current {
        writeln!(
            out,
            "down        {cautious} would carry the most there may be, {cautious_most} were needed for that at some time \
             of down.after ({fitting_most} for what was expected); {held_secs:.0} s at {current}"
        )?;
    }
    if let Some(left) = terms.no_effect_secs {
        writeln!(out, "effect      the last two additions changed nothing: none for {left:.0} s")?;
    }
    Ok(())
}

fn limits(out: &mut Formatter, decision: &Decision) -> Result {
    let Terms { lower, upper, partitions, scheduled, room, ceiling, .. } = &decision.terms;
    write!(out, "limits      {lower} to {upper} ({partitions} partitions")?;
    if let (Some(scheduled), Some(room)) = (scheduled, room) {
        write!(out, ", {scheduled} placed and room for {room}")?;
    }
    if let Some(ceiling) = ceiling {
        write!(out, ", the scheduler placed {ceiling}")?;
    }
    writeln!(out, ")")?;
    let bound = match decision.bound {
        Bound::Demand => "nothing",
        bound => bound.as_str(),
    };
    writeln!(out, "result      {} replicas, bound by {bound}", decision.replicas)
}
