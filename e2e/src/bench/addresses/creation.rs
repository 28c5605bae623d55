//! A Service is created: when its status has an address, and when somebody outside gets an answer there.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use futures::{StreamExt, pin_mut};
use k8s_openapi::api::core::v1::Service;
use kube::api::{PostParams, WatchEvent, WatchParams};
use kube::{Api, ResourceExt};

use super::report::Creation;
use super::world::{PATIENCE, PORT, World, published, service};

/// A connection that does not stand by then is given up and tried anew: the kernel would try again after a second.
const TRY: Duration = Duration::from_millis(10);

/// Creates Services one after the other. Their endpoints are there before them, since pods are no matter here.
pub(super) fn measure(world: &World, count: u8) -> Result<Vec<Creation>> {
    let mut creations = Vec::new();
    for number in 1..=count {
        let name = format!("new-{number}");
        for slice in world.slices(&name) {
            world.server().client().apply(&slice)?;
        }
        creations.push(create(world, &name).with_context(|| format!("Service {name}"))?);
    }
    if let Some(last) = creations.last() {
        eprintln!(
            "  created {count} Services; the last one had its addresses after {}, and answered after {} and {}",
            last.published, last.answered_v4, last.answered_v6
        );
    }
    Ok(creations)
}

fn create(world: &World, name: &str) -> Result<Creation> {
    let object: Service = serde_json::from_value(service(name)).context("a Service")?;
    let (began, addresses) = world.server().client().run(async |client| {
        let services: Api<Service> = Api::namespaced(client, "default");
        let began = Instant::now();
        let created = services.create(&PostParams::default(), &object).await?;
        let version = created.resource_version().context("an object has a version")?;
        let only = WatchParams::default().fields(&format!("metadata.name={name}"));
        let events = services.watch(&only, &version).await?;
        pin_mut!(events);
        while let Ok(Some(event)) = tokio::time::timeout(PATIENCE, events.next()).await {
            if let WatchEvent::Added(service) | WatchEvent::Modified(service) = event?
                && let Some(addresses) = published(&service)
            {
                return Ok((began, addresses));
            }
        }
        bail!("its status has no addresses")
    })?;
    let published = began.elapsed();
    let client = world.lab.client();
    let [v4, v6] = client.run(|| {
        let ask = |address| move || answered(address, began);
        // Threads of a namespace's thread are in it too.
        let threads = addresses.both().map(|address| thread::spawn(ask(address)));
        threads.map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    Ok(Creation {
        published: published.into(),
        answered_v4: v4?.into(),
        answered_v6: v6?.into(),
    })
}

/// Asks until there is an answer, from the calling thread's namespace.
fn answered(address: IpAddr, began: Instant) -> Result<Duration> {
    let to = SocketAddr::new(address, PORT);
    loop {
        if get(to).is_ok_and(|answer| answer.starts_with("HTTP/1.0 200")) {
            return Ok(began.elapsed());
        }
        ensure!(began.elapsed() < PATIENCE, "nobody answers at {to}");
    }
}

fn get(to: SocketAddr) -> std::io::Result<String> {
    let began = Instant::now();
    let mut stream = match TcpStream::connect_timeout(&to, TRY) {
        Ok(stream) => stream,
        Err(error) => {
            // A refusal comes at once.
            thread::sleep(TRY.saturating_sub(began.elapsed()));
            return Err(error);
        }
    };
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
