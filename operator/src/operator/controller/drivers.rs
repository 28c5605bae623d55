//! The drivers of providers in AWS: each is started with its provider, told what it must know, and asked for what Services wish.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use anyhow::{Context, anyhow};
use fairlead_crds::AwsProvider;
use fairlead_model::ServiceName;
use kube::Client;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

use super::cloud::Said;
use super::decide::Decider;
use super::plan::Wanted;
use super::watch::{Change, Told};
use crate::operator::aws::accounts::Accounts;
use crate::operator::aws::driver::{self, Assignment, Order, Timing};
use crate::operator::aws::figures::Counters;
use crate::operator::lease::Claims;

/// What drivers are made with.
#[derive(Debug, Clone)]
pub struct Aws<N> {
    /// Where accounts come from.
    pub accounts: N,
    /// Times.
    pub timing: Timing,
    /// For metrics.
    pub counters: Counters,
}

/// All drivers. They end when this is dropped.
pub struct Drivers<N> {
    aws: Aws<N>,
    client: Client,
    claims: Claims,
    running: BTreeMap<String, Driver>,
    tasks: JoinSet<anyhow::Result<()>>,
    sender: mpsc::UnboundedSender<(String, Said)>,
    said: mpsc::UnboundedReceiver<(String, Said)>,
}

struct Driver {
    spec: AwsProvider,
    orders: mpsc::UnboundedSender<Order>,
    task: AbortHandle,
}

impl<N: Accounts> Drivers<N> {
    /// None so far.
    pub fn new(aws: Aws<N>, client: Client, claims: Claims) -> Self {
        let (sender, said) = mpsc::unbounded_channel();
        Self {
            aws,
            client,
            claims,
            running: BTreeMap::new(),
            tasks: JoinSet::new(),
            sender,
            said,
        }
    }

    /// What the next one says. Cancel-safe.
    pub async fn next(&mut self) -> anyhow::Result<(String, Said)> {
        loop {
            tokio::select! {
                said = self.said.recv() => return said.context("this holds a sender itself"),
                Some(ended) = self.tasks.join_next() => match ended {
                    Err(error) if error.is_cancelled() => {}
                    Ok(Err(error)) => return Err(error.context("a driver ended")),
                    Ok(Ok(())) => return Err(anyhow!("a driver ended")),
                    Err(error) => return Err(anyhow!(error).context("a driver ended in a defect")),
                },
            }
        }
    }

    /// Tells all of them what they must know of the cluster.
    pub fn forward(&self, told: &Told) {
        for driver in self.running.values() {
            match told {
                Told::Service(change) => driver.order(Order::Services(change.clone())),
                Told::LoadBalancer(change) => driver.order(Order::Records(change.clone())),
                Told::Namespace(_) | Told::Provider(_) | Told::Pool(_) => {}
            }
        }
    }

    /// Starts and ends drivers as there are providers. Gives the keys to look at again.
    pub fn follow(&mut self, decider: &mut Decider, now: SystemTime) -> BTreeSet<ServiceName> {
        let mut again = BTreeSet::new();
        if !N::ARE_THERE {
            return again;
        }
        let wanted: BTreeMap<_, _> = decider
            .world
            .providers
            .iter()
            .filter_map(|(name, provider)| Some((name.clone(), provider.spec.aws.clone()?)))
            .collect();
        let ended: Vec<_> = self
            .running
            .iter()
            .filter(|(name, driver)| wanted.get(*name) != Some(&driver.spec))
            .map(|(name, _)| name.clone())
            .collect();
        for name in ended {
            if let Some(driver) = self.running.remove(&name) {
                driver.task.abort();
            }
            decider.clouds.forget_provider(&name);
            again.extend(decider.world.keys());
        }
        for (name, spec) in wanted {
            if !self.running.contains_key(&name) {
                self.start(decider, &name, spec, now);
                again.extend(decider.world.keys());
            }
        }
        again
    }

    fn start(&mut self, decider: &mut Decider, name: &str, spec: AwsProvider, now: SystemTime) {
        let (sender, orders) = mpsc::unbounded_channel();
        let assignment = Assignment {
            provider: name.to_owned(),
            spec: spec.clone(),
            accounts: self.aws.accounts.clone(),
            client: self.client.clone(),
            claims: self.claims.clone(),
            timing: self.aws.timing,
            counters: self.aws.counters.clone(),
            orders,
            said: self.sender.clone(),
        };
        tracing::info!(
            provider = name,
            cluster = spec.cluster_name,
            "looks after load balancers of AWS"
        );
        let driver = Driver {
            spec,
            orders: sender,
            task: self.tasks.spawn(driver::run(assignment)),
        };
        let services = decider.world.services.iter().map(|(_, service)| service.clone());
        driver.order(Order::Services(Change::All(services.collect())));
        let records = decider.world.load_balancers.iter();
        let records: Vec<_> = records.map(|(key, record)| (key.clone(), record.clone())).collect();
        let ours = records.iter().filter(|(_, record)| record.spec.provider == name);
        let keys: Vec<_> = ours.map(|(key, _)| key.clone()).collect();
        driver.order(Order::Records(Change::All(
            records.into_iter().map(|(_, record)| record).collect(),
        )));
        self.running.insert(name.to_owned(), driver);
        for key in keys {
            let (wanted, _) = decider.decide(&key, now);
            self.ask(decider, &key, &wanted);
        }
        self.running[name].order(Order::AllAsked);
    }

    /// Asks for what a key shall have, and lets go what it is done with.
    pub fn ask(&mut self, decider: &mut Decider, key: &ServiceName, wanted: &Wanted) {
        if !N::ARE_THERE {
            return;
        }
        let wish = decider.wish_of_cloud(key, wanted);
        let asks = wish.as_ref().map(|(provider, ..)| provider.clone());
        if let Some((provider, wish, record)) = wish
            && let Some(driver) = self.running.get(&provider)
            && let Some(ask) = decider.clouds.ask(&provider, key, wish, record)
        {
            driver.order(Order::Ask(Box::new(ask)));
        }
        // What is not looked after stays as it is.
        if matches!(wanted, Wanted::Unattended(_)) {
            return;
        }
        for provider in decider.clouds.asked(key) {
            if Some(&provider) == asks.as_ref() || (asks.is_none() && matches!(wanted, Wanted::Cloud { .. })) {
                continue;
            }
            // The record goes last, and as long as it is there, it must be known that nothing else is.
            if decider
                .world
                .load_balancers
                .get(key)
                .is_some_and(|record| record.spec.provider == provider)
            {
                continue;
            }
            decider.clouds.forget(&provider, key);
            if let Some(driver) = self.running.get(&provider) {
                driver.order(Order::Forget(key.clone()));
            }
        }
    }
}

impl Driver {
    /// One that ends is about to be dropped.
    fn order(&self, order: Order) {
        let _ = self.orders.send(order);
    }
}
