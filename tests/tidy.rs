//! The architecture's rules, as tests: which crate may import which, where no clock is read, and that
//! the metrics page lists exactly the metrics that the code registers.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use tidegate_runtime::metrics::Registry;

/// The arrows of docs/architecture.md: crate folder -> crates of ours that it may import.
/// A new arrow needs a decision record.
const ARROWS: &[(&str, &[&str])] = &[
    ("src/core", &[]),
    ("src/mqtt", &[]),
    ("src/spool", &[]),
    ("src/kafka", &["core"]),
    ("src/runtime", &["core"]),
    ("src/fleet", &["core", "mqtt"]),
    ("src/gateway", &["core", "mqtt", "kafka", "runtime", "spool"]),
    ("src/controller", &["core", "kafka", "runtime"]),
    ("src/simulator", &["core"]),
    (
        "src/cli",
        &["core", "mqtt", "spool", "kafka", "fleet", "gateway", "controller", "runtime", "simulator"],
    ),
    ("bench", &["core", "mqtt", "fleet", "runtime"]),
    ("bench/law", &["core", "simulator"]),
];

/// Words that must not stand in the pure crates: clocks, randomness, I/O and runtimes.
const IMPURE: &[&str] = &[
    "Instant::",
    "SystemTime",
    "tokio",
    "std::net",
    "std::fs",
    "std::io",
    "std::thread",
    "std::env",
    "rand::",
    "std::process",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ has a parent").to_path_buf()
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// All Rust files below `folder`.
fn rust_files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
    Ok(found)
}

#[test]
fn every_crate_imports_only_what_its_layer_may() -> anyhow::Result<()> {
    let workspace: toml::Table = toml::from_str(&read(&root().join("Cargo.toml"))?)?;
    let members: BTreeSet<&str> = workspace["workspace"]["members"]
        .as_array()
        .context("members is a list")?
        .iter()
        .filter_map(toml::Value::as_str)
        .collect();
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    for member in members.into_iter().filter(|member| *member != "tests") {
        let may = allowed.get(member).with_context(|| format!("{member} has no line in ARROWS"))?;
        let manifest: toml::Table = toml::from_str(&read(&root().join(member).join("Cargo.toml"))?)?;
        let dependencies = manifest["dependencies"].as_table().context("dependencies is a table")?;
        for name in dependencies.keys().filter_map(|name| name.strip_prefix("tidegate-")) {
            assert!(may.contains(&name), "{member} imports {name}; allowed: {may:?}");
        }
    }
    Ok(())
}

#[test]
fn the_pure_crates_read_no_clock_and_do_no_io() -> anyhow::Result<()> {
    // The simulator draws from seeds; apart from that it is as pure as what it simulates.
    for (folder, may) in [("src/core", ""), ("src/mqtt", ""), ("src/simulator", "rand::")] {
        for file in rust_files(&root().join(folder))? {
            let is_test = file.components().any(|part| part.as_os_str().to_string_lossy().contains("test"));
            if is_test {
                continue;
            }
            let text = read(&file)?;
            let product = text.split("#[cfg(test)]").next().unwrap_or_default();
            let code = product.lines().filter(|line| !line.trim_start().starts_with("//"));
            for (number, line) in code.enumerate() {
                for word in IMPURE.iter().filter(|word| **word != may) {
                    assert!(
                        !line.contains(word),
                        "{}: code line {number}: `{word}` in a pure crate",
                        file.display()
                    );
                }
            }
        }
    }
    Ok(())
}

/// What no safe crate of ours has: librdkafka's C interface, and one system call.
const UNSAFE: [&str; 2] = ["src/kafka/native.rs", "src/runtime/clock/kernel.rs"];

#[test]
fn unsafe_code_stands_in_two_modules_only() -> anyhow::Result<()> {
    for folder in ["src", "bench"] {
        for file in rust_files(&root().join(folder))? {
            let name = file.strip_prefix(root())?.to_string_lossy().into_owned();
            let may = UNSAFE.contains(&&*name) || name.contains("test") || name.starts_with("src/mqtt/laws/");
            assert!(may || !read(&file)?.contains("unsafe {"), "{name}: unsafe belongs into {UNSAFE:?}");
        }
    }
    Ok(())
}

#[test]
fn the_metrics_page_lists_what_the_code_registers() -> anyhow::Result<()> {
    let registry = Registry::new();
    tidegate_gateway::Metrics::new(&registry)?;
    tidegate_controller::Metrics::new(&registry)?;
    let code: BTreeSet<String> = registry
        .catalog()
        .into_iter()
        .map(|metric| format!("| `{}` | {} | {} |", metric.name, metric.labels.join(", "), metric.help))
        .collect();
    let page = read(&root().join("docs/metrics.md"))?;
    let listed: BTreeSet<String> =
        page.lines().filter(|line| line.starts_with("| `tidegate_")).map(str::to_owned).collect();
    let missing: Vec<_> = code.difference(&listed).collect();
    let stale: Vec<_> = listed.difference(&code).collect();
    assert!(
        missing.is_empty() && stale.is_empty(),
        "docs/metrics.md differs from the registry\nmissing rows:\n{missing:#?}\nrows without a metric:\n{stale:#?}"
    );
    Ok(())
}

#[test]
fn the_settings_page_shows_settings_that_are_allowed() -> anyhow::Result<()> {
    let page = read(&root().join("docs/configuration.md"))?;
    let examples: Vec<&str> =
        page.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    let [gateway, controllers @ ..] = &examples[..] else { anyhow::bail!("the page shows no settings") };
    assert_eq!(controllers.len(), 2, "one of local processes, one of Kubernetes");
    let raw: tidegate_gateway::config::RawSettings = toml::from_str(gateway)?;
    let settings = tidegate_gateway::config::Settings::try_from(raw);
    assert!(settings.is_ok(), "{:?}", settings.err());
    for controller in controllers {
        let raw: tidegate_controller::config::Raw = toml::from_str(controller)?;
        let settings = tidegate_controller::Settings::try_from(raw);
        assert!(settings.is_ok(), "{:?}", settings.err());
    }
    Ok(())
}

#[test]
fn the_dockerfile_copies_what_is_there_and_every_crate() -> anyhow::Result<()> {
    let dockerfile = read(&root().join("Dockerfile"))?;
    let copied: BTreeSet<&str> = dockerfile
        .lines()
        .filter_map(|line| line.strip_prefix("COPY "))
        .filter(|arguments| !arguments.starts_with("--from="))
        .filter_map(|arguments| arguments.rsplit_once(' '))
        .flat_map(|(sources, _)| sources.split(' '))
        .collect();
    for path in &copied {
        assert!(root().join(path).exists(), "Dockerfile copies {path}, which is not there");
    }
    let workspace: toml::Table = toml::from_str(&read(&root().join("Cargo.toml"))?)?;
    let members = workspace["workspace"]["members"].as_array().context("members is a list")?;
    for member in members.iter().filter_map(toml::Value::as_str) {
        let folder = member.split('/').next().unwrap_or(member);
        assert!(
            copied.contains(folder),
            "Dockerfile does not copy {folder}, so Cargo cannot read the workspace"
        );
    }
    Ok(())
}
