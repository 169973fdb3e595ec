//! A real Kubernetes: pods of a local image run, RBAC is enforced on clients in pods, and nothing stays behind.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tidegate_tests::support::cluster::Cluster;
use tidegate_tests::support::deadline::eventually;
use tidegate_tests::support::scenario::{on_kubernetes, on_real_parts};
use tidegate_tests::support::{image, parts};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_of_the_projects_image_runs_and_its_words_are_read() -> Result<()> {
    on_kubernetes("the project's image runs on a real node", "version", async |_, cluster| {
        let pod = Pod { name: "version", image: image::TIDEGATE, args: r#"["--version"]"# };
        let said = pod.run(cluster, "version", "Succeeded").await?;
        ensure!(said.trim() == format!("tidegate {}", env!("CARGO_PKG_VERSION")), "it says: {said}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_in_a_pod_finds_the_api_server_and_may_do_only_what_its_account_may() -> Result<()> {
    const CLIENT: &str = "tidegate.dev/kubectl:test";
    on_kubernetes("RBAC is enforced on clients in pods", "rbac", async |dir, cluster| {
        let kubectl = parts::kubernetes()?.join("kubectl");
        cluster.import(&image::pack(&kubectl, CLIENT, dir).await?).await?;
        let pod = |name, args| Pod { name, image: CLIENT, args };

        let said = pod("stranger", r#"["get", "pods"]"#).run(cluster, "rbac", "Failed").await?;
        ensure!(
            said.contains("system:serviceaccount:rbac:default\" cannot list resource \"pods\""),
            "{said}"
        );

        let role = ["create", "role", "reader", "--verb=list,get", "--resource=pods", "--namespace", "rbac"];
        cluster.kubectl(role).await?;
        let binding =
            "create rolebinding reader --role=reader --serviceaccount=rbac:default --namespace rbac";
        cluster.kubectl(binding.split(' ')).await?;
        let said = pod("reader", r#"["get", "pods"]"#).run(cluster, "rbac", "Succeeded").await?;
        ensure!(said.contains("stranger"), "{said}");
        let said = pod("thief", r#"["get", "secrets"]"#).run(cluster, "rbac", "Failed").await?;
        ensure!(said.contains("cannot list resource \"secrets\""), "{said}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_clusters_run_side_by_side_and_leave_nothing_even_when_one_is_killed() -> Result<()> {
    on_real_parts("a cluster leaves no process, mount or cgroup", async |dir| {
        let (left, right) = (dir.join("left"), dir.join("right"));
        let (left, right) = tokio::join!(Cluster::start(&left), Cluster::start(&right));
        let (mut left, mut right) = (left?, right?);
        for cluster in [&left, &right] {
            // A pod that stays, so that there is something to leave behind.
            let stays = Pod { name: "stays", image: image::PAUSE, args: "[]" };
            stays.run(cluster, "default", "Running").await?;
        }
        let traces = [Traces::of(&left)?, Traces::of(&right)?];
        for traces in &traces {
            // Supervisor, standard input, four servers, the node's first two, containerd, kubelet, shim, pod and its sandbox.
            ensure!(traces.processes.len() >= 13, "{traces:?}");
        }

        kill_process(pid(left.supervisor())?, Signal::KILL)?;
        traces[0].processes_vanish().await?;
        // The other one's kubelet and containerd have not noticed.
        let phase = ["get", "pod", "stays", "-o", "jsonpath={.status.phase}"];
        ensure!(right.kubectl(phase).await? == "Running");
        ensure!(left.stop().is_err(), "a killed cluster stopped in good order");

        right.stop()?;
        for traces in &traces {
            traces.processes_vanish().await?;
            ensure!(traces.cgroups()?.is_empty(), "{:?}", traces.cgroups()?);
        }
        ensure!(mounts_of_all_processes(dir)?.is_empty(), "{:?}", mounts_of_all_processes(dir)?);
        Ok(())
    })
    .await
}

/// A pod with one container that is not started again.
struct Pod {
    name: &'static str,
    image: &'static str,
    /// A YAML list.
    args: &'static str,
}

impl Pod {
    /// Starts it, waits for `phase`, and returns what it has written.
    async fn run(&self, cluster: &Cluster, namespace: &str, phase: &str) -> Result<String> {
        let Self { name, image, args } = self;
        let manifest = format!(
            "apiVersion: v1\n\
             kind: Pod\n\
             metadata: {{name: {name}, namespace: {namespace}}}\n\
             spec:\n  \
               hostNetwork: true\n  \
               restartPolicy: Never\n  \
               terminationGracePeriodSeconds: 1\n  \
               containers:\n  \
               - {{name: only, image: '{image}', imagePullPolicy: Never, args: {args}}}\n"
        );
        cluster.apply(&manifest).await?;
        let awaited = format!("--for=jsonpath={{.status.phase}}={phase}");
        let pod = format!("pod/{name}");
        cluster.kubectl(["wait", &awaited, &pod, "--timeout=60s", "--namespace", namespace]).await?;
        cluster.kubectl(["logs", name, "--namespace", namespace]).await
    }
}

/// What a running cluster has on the machine.
#[derive(Debug)]
struct Traces {
    supervisor: u32,
    /// Process ids with their start times, which tell them from later processes of the same id.
    processes: BTreeMap<u32, String>,
}

impl Traces {
    /// Everything that descends from the cluster's supervisor.
    fn of(cluster: &Cluster) -> Result<Self> {
        let supervisor = cluster.supervisor();
        let all = processes()?;
        let mut found = BTreeMap::new();
        let mut parents = vec![supervisor];
        while let Some(parent) = parents.pop() {
            if let Some((_, start)) = all.get(&parent) {
                found.insert(parent, start.clone());
            }
            parents.extend(all.iter().filter(|(_, (of, _))| *of == parent).map(|(id, _)| *id));
        }
        Ok(Self { supervisor, processes: found })
    }

    async fn processes_vanish(&self) -> Result<()> {
        let what = format!("the end of {self:?}");
        eventually(&what, Duration::from_secs(20), async || {
            let all = processes()?;
            let left = |(id, start): (&u32, &String)| all.get(id).is_some_and(|(_, now)| now == start);
            Ok((!self.processes.iter().any(left)).then_some(()))
        })
        .await
    }

    /// Cgroups of the cluster, in every hierarchy.
    fn cgroups(&self) -> Result<Vec<std::path::PathBuf>> {
        let name = format!("tidegate-{}", self.supervisor);
        let mut found = vec![Path::new("/sys/fs/cgroup").join(&name)];
        for entry in fs::read_dir("/sys/fs/cgroup")? {
            found.push(entry?.path().join(&name));
        }
        found.retain(|path| path.exists());
        Ok(found)
    }
}

/// Every live process: id -> parent and start time, from /proc/PID/stat (proc(5)).
fn processes() -> Result<BTreeMap<u32, (u32, String)>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Ok(id) = entry.file_name().to_string_lossy().parse() else { continue };
        // Others end while we look.
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        let Some((_, after_name)) = stat.rsplit_once(") ") else { continue };
        let fields: Vec<&str> = after_name.split(' ').collect();
        let [state, parent, ..] = fields[..] else { continue };
        if state != "Z" {
            found.insert(id, (parent.parse()?, fields[19].to_owned()));
        }
    }
    Ok(found)
}

/// Mount points below `dir`, in the namespace of any process.
fn mounts_of_all_processes(dir: &Path) -> Result<Vec<String>> {
    let dir = dir.to_string_lossy();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Ok(mounts) = fs::read_to_string(entry?.path().join("mountinfo")) else { continue };
        found.extend(mounts.lines().filter(|line| line.contains(&*dir)).map(str::to_owned));
    }
    Ok(found)
}

fn pid(id: u32) -> Result<Pid> {
    Pid::from_raw(id.try_into()?).ok_or_else(|| anyhow::anyhow!("{id} is no process id"))
}
