use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;
use crate::scaling::tests::poisson;

const TICK: Duration = Duration::from_secs(5);
const LEAD: Duration = Duration::from_secs(125);

/// Feeds Poisson arrivals of `rate(secs)` every 5 s for `hours`.
fn fed(hours: u64, seed: u64, rate: impl Fn(f64) -> f64) -> Forecaster {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut forecaster = Forecaster::default();
    for tick in 1..=hours * 720 {
        let secs = real(tick) * 5.0;
        let arrived = poisson(&mut rng, rate(secs) * 5.0) / 5.0;
        forecaster.add(arrived, TICK, Timestamp::from_secs_f64(secs), LEAD);
    }
    forecaster
}

fn hourly(secs: f64) -> f64 {
    500.0 + 400.0 * (std::f64::consts::TAU * secs / 3600.0).sin()
}

#[test]
fn an_hourly_wave_is_forecast_before_it_comes() {
    // 10 h end where the wave crosses its mean upwards; two minutes and a half later it is well above.
    let outlook = fed(10, 1, hourly).outlook().unwrap();
    assert!(outlook.open, "{outlook:?}");
    let period = outlook.period_secs.unwrap();
    assert!((3_480.0..=3_720.0).contains(&period), "{outlook:?}");
    let truth = hourly(150.0);
    assert!((outlook.median / truth - 1.0).abs() < 0.1, "{truth} {outlook:?}");
    assert!(outlook.q90 >= outlook.median && outlook.ahead_q90 >= outlook.q90, "{outlook:?}");
}

#[test]
fn a_walk_that_nobody_can_foresee_adds_little() {
    let mut rng = StdRng::seed_from_u64(9);
    let mut forecaster = Forecaster::default();
    let (mut rate, mut added, mut arrived) = (500.0_f64, 0.0, 0.0);
    for tick in 1..=20 * 720_u64 {
        if tick % 12 == 0 {
            rate = (rate + (poisson(&mut rng, 100.0) - 100.0) * 5.0).max(10.0);
        }
        forecaster.add(rate, TICK, Timestamp::from_millis(tick * 5000), LEAD);
        if tick % 12 == 0 {
            let outlook = forecaster.outlook();
            arrived += rate;
            let open = outlook.filter(|outlook| outlook.open);
            added += open.map_or(0.0, |outlook| (outlook.q90 - rate).max(0.0));
        }
    }
    assert!(added < 0.1 * arrived, "{added} of {arrived}");
}

#[test]
fn the_gate_is_closed_before_twenty_forecasts() {
    assert_eq!(Forecaster::default().outlook(), None);
    let young = fed(1, 2, |_| 300.0);
    let steps = young.series.len();
    assert!(steps >= 59);
    for hours in [1, 2] {
        let outlook = fed(hours, 2, |_| 300.0).outlook().unwrap();
        assert!(!outlook.open || outlook.covered >= 16, "{outlook:?}");
    }
    let mut early = Forecaster::default();
    for tick in 1..=12 * 30 {
        early.add(300.0, TICK, Timestamp::from_millis(tick * 5000), LEAD);
        assert!(early.outlook().is_none_or(|outlook| !outlook.open), "at {tick}");
    }
}

#[test]
fn another_lead_is_judged_on_its_own_record() {
    let mut forecaster = fed(10, 1, hourly);
    let far = forecaster.outlook().unwrap();
    let now = Timestamp::from_millis(36_000_000) + TICK;
    forecaster.add(500.0, TICK, now, Duration::from_secs(20));
    let near = forecaster.outlook().unwrap();
    assert!((far.horizon_secs - 180.0).abs() < 1e-9 && (near.horizon_secs - 60.0).abs() < 1e-9);
    assert!(near.open && near.loss_persistence.unwrap() < far.loss_persistence.unwrap(), "{near:?} {far:?}");
    // A lead that trembles around a boundary does not begin anew each time.
    let record = forecaster.clone();
    forecaster.add(500.0, Duration::ZERO, now, Duration::from_secs(40));
    assert_eq!(forecaster.outlook(), record.outlook());
}

#[test]
fn it_survives_a_restart_with_its_season_in_place() {
    let before = fed(10, 1, hourly);
    let stored = serde_json::to_string(&before).unwrap();
    let read: Forecaster = serde_json::from_str(&stored).unwrap();
    assert_eq!(read, before, "every float is read as it was written");
    // Twenty minutes away; the new process's clock begins at zero.
    let (saved, back) = (UnixMillis(1_000_000), UnixMillis(1_000_000 + 20 * 60_000));
    let resumed = read.clone().resume(saved, back, Timestamp::ZERO);
    let truth = hourly(1_200.0 + 150.0);
    let outlook = resumed.outlook().unwrap();
    assert!((outlook.median / truth - 1.0).abs() < 0.2, "{truth} {outlook:?}");
    let days = UnixMillis(saved.0 + 4 * 86_400_000);
    assert_eq!(read.clone().resume(saved, days, Timestamp::ZERO), Forecaster::default());
    assert_eq!(read.resume(saved, UnixMillis(0), Timestamp::ZERO), Forecaster::default());
}

#[test]
fn memory_is_bounded_however_long_it_lasts() {
    let mut forecaster = Forecaster::default();
    for step in 1..4_000_u64 {
        forecaster.add(100.0, STEP, Timestamp::from_millis(step * 60_000), LEAD);
    }
    assert_eq!(forecaster.series.len(), KEPT);
    assert!(serde_json::to_string(&forecaster).unwrap().len() < 100_000);
}

#[test]
fn it_is_read_as_it_was_written_at_every_age() {
    let mut forecaster = Forecaster::default();
    let mut rng = StdRng::seed_from_u64(3);
    for step in 1..60_u64 {
        let read: Forecaster = serde_json::from_str(&serde_json::to_string(&forecaster).unwrap()).unwrap();
        assert_eq!(read, forecaster, "after {step} steps");
        let rate = poisson(&mut rng, 300.0);
        forecaster.add(rate, STEP, Timestamp::from_millis(step * 60_000), LEAD);
    }
    assert!(forecaster.outlook().is_some_and(|outlook| outlook.loss.is_some()));
}
