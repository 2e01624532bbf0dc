//! The rules of a cluster: which NATS its nodes share, and what they keep there.

use std::convert::Infallible;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use percent_encoding::percent_decode_str;
use serde::{Serialize, Serializer};

use super::validate::{BUDGET_MAX, within};
use super::{AccessRules, ConfigError, HostName, Settings, Size};

const NAME: &str = "roomcast";
const NAME_BYTES_MAX: usize = 32;
const NATS_PORT: u16 = 4_222;
const STREAM_BYTES: &str = "1GiB";
const STREAM_BYTES_MIN: Size = Size(16 * 1024 * 1024);

/// The stream holds at least as many of the longest message: a node that has fallen behind reads them there.
const STREAM_MESSAGES_MIN: usize = 16;

/// Repeats of a publish are recognised for this long, also by a node that starts.
const STREAM_AGE_MIN: Duration = Duration::from_secs(5 * 60);

/// What is just old enough for a room to forget it must still be in the stream.
const STREAM_AGE_SPARE: Duration = Duration::from_secs(60);

/// The settings of a cluster, not validated yet.
#[derive(Clone, Debug, PartialEq, Args, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ClusterSettings {
    /// Servers of the NATS that all nodes of a cluster share (default: none, the server is alone).
    ///
    /// As in `nats://10.0.0.1,nats://10.0.0.2:4222`, or `tls://`. NATS 2.11 or later with JetStream; docs/cluster.md
    /// describes clusters. A user and password (`nats://user:password@10.0.0.1`) or a token (`nats://token@10.0.0.1`) belongs
    /// in each URL, the same in all; it is never displayed, not even by `check-config`. Every process of the machine can
    /// read flags: give it in the variable or in the file. A change of any of these settings needs a restart.
    #[arg(long, help_heading = "Cluster", value_name = "URL", value_delimiter = ',')]
    pub cluster: Vec<NatsServer>,
    /// Name of the cluster: of its stream and its subjects in NATS.
    ///
    /// Clusters that share a NATS have different names. 1 to 32 letters, digits, - and _.
    #[arg(long, help_heading = "Cluster", value_name = "TEXT", default_value = NAME)]
    pub cluster_name: String,
    /// PEM file of the authorities from which the certificate of NATS may come (default: those that the system trusts).
    #[arg(long, help_heading = "Cluster", value_name = "PATH")]
    pub cluster_ca: Option<PathBuf>,
    /// PEM file of the certificate by which the node proves to NATS who it is.
    #[arg(long, help_heading = "Cluster", value_name = "PATH")]
    pub cluster_certificate: Option<PathBuf>,
    /// PEM file of the private key of that certificate.
    #[arg(long, help_heading = "Cluster", value_name = "PATH")]
    pub cluster_key: Option<PathBuf>,
    /// Copies of the stream: 1, 3 or 5 (default: 3 where NATS is a cluster, else 1).
    ///
    /// With three copies any one server of NATS may fail. A stream that exists keeps the copies that it has.
    #[arg(long, help_heading = "Cluster", value_name = "COUNT")]
    pub cluster_replicas: Option<usize>,
    /// Disk space of the stream on each server that has a copy; the oldest messages are dropped beyond it.
    ///
    /// It holds what a node reads as it starts, and what one that was away has missed. A stream that exists keeps its size.
    #[arg(long, help_heading = "Cluster", value_name = "SIZE", default_value = STREAM_BYTES)]
    pub cluster_stream_bytes: Size,
}

/// The cluster of which the server is a node.
#[derive(Clone, Debug)]
pub struct ClusterRules {
    /// Servers of one NATS, at least one, each as `nats://host:4222` or `tls://host:4222` without the login.
    pub servers: Vec<NatsServer>,
    /// What all servers are told of who the node is; `None` where NATS asks for nothing or for a certificate.
    pub login: Option<NatsLogin>,
    /// The name of the cluster: that of its stream, and the first part of its subjects.
    pub name: String,
    /// PEM file of the authorities that NATS' certificate may come from; `None` for those that the system trusts.
    pub authorities: Option<PathBuf>,
    /// PEM files of the certificate and the key by which the node proves to NATS who it is.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// Copies of the stream; `None` is three where NATS is a cluster, else one.
    pub replicas: Option<u8>,
    /// The most bytes of the stream. Beyond it the oldest are dropped.
    pub stream_bytes_max: u64,
    /// How long the stream keeps what nodes may need: the longest history of any room.
    pub stream_age: Duration,
    /// The longest message of a client, in bytes, which NATS must carry.
    pub message_bytes_max: usize,
}

/// The URL of a NATS server. As a setting it may hold a password or a token, which is not displayed.
#[derive(Clone, PartialEq, Eq)]
pub struct NatsServer(pub String);

/// How a node proves to NATS who it is. Nothing of it is displayed.
#[derive(Clone, PartialEq, Eq)]
pub enum NatsLogin {
    /// A user of NATS and its password.
    User(String, String),
    /// The token that NATS asks of everybody.
    Token(String),
}

/// What stands for a login where a URL is displayed.
const HIDDEN: &str = "…";

impl NatsServer {
    /// The URL without its login, with its port; and the login. `None` where it is no URL of a NATS server.
    fn parse(&self) -> Option<(String, Option<NatsLogin>)> {
        let (scheme, rest) = self.0.split_once("://").filter(|(scheme, _)| matches!(*scheme, "nats" | "tls"))?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (login, host) = rest.rsplit_once('@').map_or((None, rest), |(login, host)| (Some(login), host));
        let HostName { name, port } = HostName::parse(host).filter(|host| host.port != Some(0))?;
        let login = match login {
            Some(login) => Some(NatsLogin::parse(login)?),
            None => None,
        };
        Some((format!("{scheme}://{name}:{}", port.unwrap_or(NATS_PORT)), login))
    }
}

impl NatsLogin {
    /// Reads `user:password` or a token, in the encoding of URLs.
    fn parse(text: &str) -> Option<Self> {
        let decoded = |text| percent_decode_str(text).decode_utf8().ok().filter(|text| !text.is_empty());
        Some(match text.split_once(':') {
            Some((user, password)) => Self::User(decoded(user)?.into(), decoded(password)?.into()),
            None => Self::Token(decoded(text)?.into()),
        })
    }
}

impl FromStr for NatsServer {
    type Err = Infallible;

    /// Takes any text: an error of clap would repeat it with its password.
    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.trim().to_owned()))
    }
}

impl fmt::Display for NatsServer {
    /// A text that is no URL may be a part of a password that holds a comma, so it is hidden whole.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.parse() {
            Some((url, None)) => out.write_str(&url),
            Some((url, Some(_))) => out.write_str(&url.replace("://", &format!("://{HIDDEN}@"))),
            None => out.write_str(HIDDEN),
        }
    }
}

impl fmt::Debug for NatsServer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl fmt::Debug for NatsLogin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(HIDDEN)
    }
}

impl Serialize for NatsServer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

pub(super) fn cluster(settings: &Settings, access: &AccessRules) -> Result<Option<ClusterRules>, ConfigError> {
    let nats = &settings.nats;
    let (servers, login) = servers(&nats.cluster)?;
    if servers.is_empty() {
        return alone(nats).map(|()| None);
    }
    Ok(Some(ClusterRules {
        servers,
        login,
        name: name(&nats.cluster_name)?,
        authorities: nats.cluster_ca.clone(),
        certificate: certificate(nats)?,
        replicas: nats.cluster_replicas.map(replicas).transpose()?,
        stream_bytes_max: stream_bytes(nats.cluster_stream_bytes, settings.message_bytes)?,
        stream_age: stream_age(access),
        message_bytes_max: settings.message_bytes.0,
    }))
}

/// Refuses settings of a cluster where there is none.
fn alone(nats: &ClusterSettings) -> Result<(), ConfigError> {
    let shown = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
    let stream_bytes = nats.cluster_stream_bytes.to_string();
    let given = [
        ("cluster-name", (nats.cluster_name != NAME).then(|| format!("{:?}", nats.cluster_name))),
        ("cluster-ca", shown(&nats.cluster_ca)),
        ("cluster-certificate", shown(&nats.cluster_certificate)),
        ("cluster-key", shown(&nats.cluster_key)),
        ("cluster-replicas", nats.cluster_replicas.map(|replicas| replicas.to_string())),
        ("cluster-stream-bytes", (stream_bytes != STREAM_BYTES).then_some(stream_bytes)),
    ];
    match given.into_iter().find_map(|(setting, value)| Some((setting, value?))) {
        Some((setting, value)) => {
            let rule = "needs {cluster}, the servers of the NATS that the nodes share, as in nats://10.0.0.1:4222";
            Err(ConfigError::new(setting, value, rule))
        }
        None => Ok(()),
    }
}

/// The servers without their login, and the login that they share.
fn servers(listed: &[NatsServer]) -> Result<(Vec<NatsServer>, Option<NatsLogin>), ConfigError> {
    const RULE: &str = "URLs of NATS servers, as in nats://10.0.0.1:4222,nats://10.0.0.2:4222, or tls://; in front of the \
        host user:password@ or token@, where %2C is a comma and %40 is an @";
    // A comma in a password ends an entry, and the next begins with the rest of the password.
    let has_login = listed.iter().any(|server| server.0.contains('@'));
    let wrong = |server: &NatsServer| ConfigError::new("cluster", if has_login { HIDDEN } else { &server.0 }, RULE);
    let parsed = listed.iter().map(|server| server.parse().ok_or_else(|| wrong(server)));
    let parsed: Vec<_> = parsed.collect::<Result<_, _>>()?;
    let login = parsed.first().and_then(|(_, login)| login.clone());
    for (server, (_, own)) in listed.iter().zip(&parsed) {
        let rule = match own {
            Some(NatsLogin::Token(token)) if token == HIDDEN => {
                "check-config leaves the login out: put it in place of …"
            }
            _ if *own != login => "the same user and password, or token, in front of every host, or none",
            _ => continue,
        };
        return Err(ConfigError::new("cluster", server, rule));
    }
    Ok((parsed.into_iter().map(|(url, _)| NatsServer(url)).collect(), login))
}

fn name(name: &str) -> Result<String, ConfigError> {
    let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !is_plain {
        let rule = format!("1 to {NAME_BYTES_MAX} letters, digits, - and _");
        return Err(ConfigError::new("cluster-name", format_args!("{name:?}"), rule));
    }
    Ok(name.to_owned())
}

fn certificate(nats: &ClusterSettings) -> Result<Option<(PathBuf, PathBuf)>, ConfigError> {
    match (&nats.cluster_certificate, &nats.cluster_key) {
        (Some(certificate), Some(key)) => Ok(Some((certificate.clone(), key.clone()))),
        (None, None) => Ok(None),
        (Some(file), None) => Err(ConfigError::new("cluster-certificate", file.display(), "needs {cluster-key}")),
        (None, Some(file)) => Err(ConfigError::new("cluster-key", file.display(), "needs {cluster-certificate}")),
    }
}

fn replicas(count: usize) -> Result<u8, ConfigError> {
    let found = [1, 3, 5].into_iter().find(|allowed| usize::from(*allowed) == count);
    found.ok_or_else(|| ConfigError::new("cluster-replicas", count, "1, 3 or 5"))
}

fn stream_bytes(size: Size, message_bytes: Size) -> Result<u64, ConfigError> {
    let min = STREAM_BYTES_MIN.max(Size(message_bytes.0 * STREAM_MESSAGES_MIN));
    let size = within("cluster-stream-bytes", size, min..=BUDGET_MAX).map_err(|error| {
        error.because(&format!("at least {STREAM_MESSAGES_MIN} of {{message-bytes}} {message_bytes}"))
    })?;
    Ok(size.0 as u64)
}

fn stream_age(access: &AccessRules) -> Duration {
    let of_rules = access.rooms.iter().map(|rule| rule.limits.history_age_max);
    let longest = of_rules.fold(access.default_limits.history_age_max, Duration::max);
    longest.max(STREAM_AGE_MIN) + STREAM_AGE_SPARE
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, RuleSettings, Span, Who};

    fn settings(url: &str) -> Settings {
        let mut settings = Settings::default();
        settings.nats.cluster = url.split(',').map(|url| url.parse().unwrap()).collect();
        settings
    }

    fn rules(settings: Settings) -> ClusterRules {
        Config::try_from(settings).unwrap().cluster.unwrap()
    }

    fn refused(settings: Settings) -> String {
        Config::try_from(settings).unwrap_err().to_string()
    }

    #[test]
    fn a_server_is_alone_by_default_and_a_node_with_a_url() {
        assert!(Config::try_from(Settings::default()).unwrap().cluster.is_none());
        let rules = rules(settings("nats://localhost, tls://[::1]:4333/"));
        assert_eq!(format!("{:?}", rules.servers), "[nats://localhost:4222, tls://[::1]:4333]");
        assert_eq!((rules.name.as_str(), rules.stream_bytes_max, rules.replicas), ("roomcast", 1 << 30, None));
        assert_eq!((rules.login, rules.message_bytes_max), (None, 64 * 1024));
    }

    #[test]
    fn a_login_is_the_same_for_all_servers_and_is_never_displayed() {
        let with_password = settings("nats://ada:p%2Cw@a,nats://ada:p%2Cw@b:1");
        let printed = toml::to_string(&with_password).unwrap();
        assert!(printed.contains("cluster = [\"nats://…@a:4222\", \"nats://…@b:1\"]\n"), "{printed}");
        let shown = format!("{with_password:?}");
        assert!(!shown.contains("ada") && !shown.contains("p%2Cw"), "{shown}");
        let rules_with_password = rules(with_password);
        assert_eq!(rules_with_password.login, Some(NatsLogin::User("ada".into(), "p,w".into())));
        assert_eq!(rules_with_password.servers[1].0, "nats://b:1");
        assert!(format!("{rules_with_password:?}").contains("login: Some(…)"));
        assert_eq!(rules(settings("nats://word@a")).login, Some(NatsLogin::Token("word".into())));
        let same = "the same user and password, or token, in front of every host, or none";
        assert_eq!(refused(settings("nats://word@a,nats://b")), format!("cluster nats://b:4222: {same}"));
        assert_eq!(refused(settings("nats://a,nats://word@b")), format!("cluster nats://…@b:4222: {same}"));
    }

    #[test]
    fn what_check_config_prints_in_place_of_a_login_is_no_login() {
        let printed = settings("nats://ada:word@a").nats.cluster[0].to_string();
        let rule = "check-config leaves the login out: put it in place of …";
        assert_eq!(refused(settings(&printed)), format!("cluster nats://…@a:4222: {rule}"));
    }

    #[test]
    fn a_wrong_url_is_refused_and_not_repeated_where_any_has_a_login() {
        let urls =
            ["localhost:4222", "nats://", "http://a", "nats://a:0", "nats://a:66000", "nats://a/b", "nats://a b"];
        for url in urls {
            let error = refused(settings(url));
            assert!(error.starts_with(&format!("cluster {url}: URLs of NATS servers, as in nats://")), "{error}");
        }
        for url in ["ada:pwd9@a", "nats://ada:x,pwd9@a", "nats://pwd9@a,localhost", "nats://:pwd9@a", "nats://ada:@a"] {
            let error = refused(settings(url));
            assert!(error.starts_with("cluster …: URLs of NATS servers") && !error.contains("pwd9"), "{error}");
            let shown = format!("{:?}", settings(url));
            assert!(!shown.contains("pwd9") && !shown.contains("ada"), "{shown}");
        }
    }

    #[test]
    fn settings_of_a_cluster_are_refused_without_its_servers() {
        let refused_alone = |change: fn(&mut ClusterSettings)| {
            let mut settings = Settings::default();
            change(&mut settings.nats);
            refused(settings)
        };
        let rule = "needs cluster, the servers of the NATS that the nodes share, as in nats://10.0.0.1:4222";
        let name = refused_alone(|nats| nats.cluster_name = "chat".into());
        assert_eq!(name, format!("cluster-name \"chat\": {rule}"));
        let authorities = refused_alone(|nats| nats.cluster_ca = Some("ca.pem".into()));
        assert_eq!(authorities, format!("cluster-ca ca.pem: {rule}"));
        let replicas = refused_alone(|nats| nats.cluster_replicas = Some(3));
        assert_eq!(replicas, format!("cluster-replicas 3: {rule}"));
        let bytes = refused_alone(|nats| nats.cluster_stream_bytes = Size(1 << 31));
        assert_eq!(bytes, format!("cluster-stream-bytes 2GiB: {rule}"));
    }

    #[test]
    fn a_value_out_of_its_rule_is_named_with_the_rule() {
        let refused_with = |change: fn(&mut Settings)| {
            let mut settings = settings("nats://a");
            change(&mut settings);
            refused(settings)
        };
        let name = refused_with(|settings| settings.nats.cluster_name = "a.b".into());
        assert_eq!(name, "cluster-name \"a.b\": 1 to 32 letters, digits, - and _");
        let replicas = refused_with(|settings| settings.nats.cluster_replicas = Some(2));
        assert_eq!(replicas, "cluster-replicas 2: 1, 3 or 5");
        let replicas = refused_with(|settings| settings.nats.cluster_replicas = Some(257));
        assert_eq!(replicas, "cluster-replicas 257: 1, 3 or 5");
        let certificate = refused_with(|settings| settings.nats.cluster_certificate = Some("a.pem".into()));
        assert_eq!(certificate, "cluster-certificate a.pem: needs cluster-key");
        let bytes = refused_with(|settings| settings.nats.cluster_stream_bytes = Size(1024));
        assert_eq!(bytes, "cluster-stream-bytes 1KiB: 16MiB to 1024GiB, at least 16 of message-bytes 64KiB");
    }

    #[test]
    fn the_stream_keeps_what_any_rule_retains_and_five_minutes_at_least() {
        let age = |of_default: u64, of_rule: u64| {
            let span = |seconds| Span(Duration::from_secs(seconds));
            let rule = RuleSettings { history_age: Some(span(of_rule)), ..RuleSettings::new("a", Who::Anyone) };
            let settings = Settings { history_age: span(of_default), rules: vec![rule], ..settings("nats://a") };
            rules(settings).stream_age.as_secs()
        };
        assert_eq!([age(600, 60), age(60, 3_600), age(60, 60)], [660, 3_660, 360]);
    }
}
