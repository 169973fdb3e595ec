//! Every well-formed packet of a version.
//!
//! Packets borrow, so what they borrow from is leaked: a test process ends soon.

use std::num::{NonZeroU16, NonZeroU32};

use proptest::collection::{SizeRange, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use tidegate_mqtt::codec::{
    Ack, Auth, ConnAck, Connect, Disconnect, List, Packet, PacketType, Properties, Property, Publish,
    RetainHandling, SubAck, Subscribe, Subscription, UnsubAck, Unsubscribe, Will,
};
use tidegate_mqtt::{QoS, ReasonCode, Version};

/// A packet that lives as long as the process.
pub(crate) type Any = BoxedStrategy<Packet<'static>>;

pub(crate) fn version() -> impl Strategy<Value = Version> {
    select(vec![Version::V311, Version::V5])
}

/// Any packet of any type that the version has.
pub(crate) fn packet(version: Version) -> Any {
    let auth = (code(PacketType::Auth), packet_properties(PacketType::Auth, version))
        .prop_map(|(reason, properties)| Packet::Auth(Auth { reason, properties }));
    let both = prop_oneof![from_client(version), from_server(version)];
    if version == Version::V311 { both.boxed() } else { prop_oneof![14 => both, 1 => auth].boxed() }
}

/// Any packet that a client may send.
pub(crate) fn from_client(version: Version) -> Any {
    prop_oneof![
        1 => connect(version),
        4 => publish(version),
        1 => subscribe(version),
        1 => unsubscribe(version),
        1 => acks(version),
        1 => Just(Packet::PingReq),
        1 => disconnect(version),
    ]
    .boxed()
}

fn from_server(version: Version) -> Any {
    prop_oneof![
        connack(version),
        publish(version),
        acks(version),
        suback(version),
        unsuback(version),
        Just(Packet::PingResp),
        disconnect(version),
    ]
    .boxed()
}

fn leak<T>(list: Vec<T>) -> &'static [T] {
    Box::leak(list.into_boxed_slice())
}

fn list<T: std::fmt::Debug + 'static>(
    entry: impl Strategy<Value = T> + 'static,
    size: impl Into<SizeRange>,
) -> BoxedStrategy<&'static [T]> {
    vec(entry, size).prop_map(leak).boxed()
}

fn bytes() -> BoxedStrategy<&'static [u8]> {
    list(any::<u8>(), 0..40)
}

fn text() -> BoxedStrategy<&'static str> {
    "[^\0]{0,20}".prop_map(|text| &*text.leak()).boxed()
}

fn topic() -> BoxedStrategy<&'static str> {
    "[^\0+#]{1,20}".prop_map(|text| &*text.leak()).boxed()
}

fn packet_id() -> impl Strategy<Value = NonZeroU16> {
    any::<NonZeroU16>()
}

fn qos() -> impl Strategy<Value = QoS> {
    select(vec![QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce])
}

fn code(kind: PacketType) -> impl Strategy<Value = ReasonCode> {
    let codes = (0..=u8::MAX).map(ReasonCode::from_byte).filter(|code| code.allowed_in(kind));
    select(codes.collect::<Vec<_>>())
}

/// A set of properties that the place may carry, in any order, user properties repeated.
fn properties(
    choices: Vec<BoxedStrategy<Property<'static>>>,
    version: Version,
) -> BoxedStrategy<Properties<'static>> {
    if version == Version::V311 {
        return Just(Properties::EMPTY).boxed();
    }
    let user = (text(), text()).prop_map(|(name, value)| Property::UserProperty(name, value));
    let once = choices.into_iter().map(option::of).collect::<Vec<_>>();
    (once, vec(user, 0..3))
        .prop_map(|(once, users)| once.into_iter().flatten().chain(users).collect::<Vec<_>>())
        .prop_shuffle()
        .prop_map(|list| Properties::new(leak(list)))
        .boxed()
}

macro_rules! choices {
    ($($variant:ident($strategy:expr)),* $(,)?) => {
        vec![$($strategy.prop_map(Property::$variant).boxed()),*]
    };
}

fn message_choices() -> Vec<BoxedStrategy<Property<'static>>> {
    choices![
        PayloadFormatIndicator(any::<bool>()),
        MessageExpiryInterval(any::<u32>()),
        ContentType(text()),
        ResponseTopic(topic()),
        CorrelationData(bytes()),
    ]
}

fn packet_properties(kind: PacketType, version: Version) -> BoxedStrategy<Properties<'static>> {
    let choices = match kind {
        PacketType::Connect => choices![
            SessionExpiryInterval(any::<u32>()),
            AuthenticationMethod(text()),
            RequestProblemInformation(any::<bool>()),
            RequestResponseInformation(any::<bool>()),
            ReceiveMaximum(any::<NonZeroU16>()),
            TopicAliasMaximum(any::<u16>()),
            MaximumPacketSize(any::<NonZeroU32>()),
        ],
        PacketType::ConnAck => choices![
            SessionExpiryInterval(any::<u32>()),
            AssignedClientIdentifier(text()),
            ServerKeepAlive(any::<u16>()),
            AuthenticationMethod(text()),
            ResponseInformation(text()),
            ServerReference(text()),
            ReasonString(text()),
            ReceiveMaximum(any::<NonZeroU16>()),
            TopicAliasMaximum(any::<u16>()),
            MaximumQos(any::<bool>()),
            RetainAvailable(any::<bool>()),
            MaximumPacketSize(any::<NonZeroU32>()),
            WildcardSubscriptionAvailable(any::<bool>()),
            SubscriptionIdentifierAvailable(any::<bool>()),
            SharedSubscriptionAvailable(any::<bool>()),
        ],
        PacketType::Publish => {
            let mut choices = message_choices();
            choices
                .extend(choices![TopicAlias(any::<NonZeroU16>()), SubscriptionIdentifier(subscription_id())]);
            choices
        }
        PacketType::Subscribe => choices![SubscriptionIdentifier(subscription_id())],
        PacketType::Unsubscribe => Vec::new(),
        PacketType::Disconnect => {
            choices![SessionExpiryInterval(any::<u32>()), ServerReference(text()), ReasonString(text())]
        }
        PacketType::Auth => return auth_properties(version),
        _ => choices![ReasonString(text())],
    };
    properties(choices, version)
}

/// Authentication data never comes without its method.
fn auth_properties(version: Version) -> BoxedStrategy<Properties<'static>> {
    let with_data = (text(), bytes()).prop_map(|(method, data)| {
        Properties::new(leak(vec![
            Property::AuthenticationMethod(method),
            Property::AuthenticationData(data),
        ]))
    });
    prop_oneof![with_data, properties(choices![AuthenticationMethod(text()), ReasonString(text())], version)]
        .boxed()
}

fn subscription_id() -> impl Strategy<Value = NonZeroU32> {
    (1..=268_435_455_u32).prop_map(|id| NonZeroU32::new(id).expect("from 1 on"))
}

fn will(version: Version) -> impl Strategy<Value = Will<'static>> {
    let mut choices = message_choices();
    choices.extend(choices![WillDelayInterval(any::<u32>())]);
    (qos(), any::<bool>(), topic(), bytes(), properties(choices, version)).prop_map(
        |(qos, retain, topic, payload, properties)| Will { qos, retain, topic, payload, properties },
    )
}

/// A CONNECT of the version.
pub(crate) fn connect(version: Version) -> Any {
    let who = (text(), option::of(text()), option::of(bytes()));
    (
        who,
        any::<bool>(),
        any::<u16>(),
        option::of(will(version)),
        packet_properties(PacketType::Connect, version),
    )
        .prop_map(
            move |((client_id, user_name, password), clean_start, keep_alive_secs, will, properties)| {
                // 3.1.1 has no password without a user name.
                let password = password.filter(|_| version == Version::V5 || user_name.is_some());
                Packet::Connect(Connect {
                    version,
                    clean_start,
                    keep_alive_secs,
                    client_id,
                    will,
                    user_name,
                    password,
                    properties,
                })
            },
        )
        .boxed()
}

fn connack(version: Version) -> Any {
    let reason = code(PacketType::ConnAck).prop_map(move |reason| match version {
        Version::V311 => reason.to_v311().and_then(ReasonCode::from_v311).unwrap_or_default(),
        Version::V5 => reason,
    });
    (any::<bool>(), reason, packet_properties(PacketType::ConnAck, version))
        .prop_map(|(session_present, reason, properties)| {
            let session_present = session_present && !reason.is_error();
            Packet::ConnAck(ConnAck { session_present, reason, properties })
        })
        .boxed()
}

/// A PUBLISH of the version.
pub(crate) fn publish(version: Version) -> Any {
    let flags = (any::<bool>(), qos(), any::<bool>());
    (flags, topic(), packet_id(), packet_properties(PacketType::Publish, version), bytes())
        .prop_map(|((dup, qos, retain), topic, packet_id, properties, payload)| {
            let acknowledged = qos > QoS::AtMostOnce;
            let dup = dup && acknowledged;
            let packet_id = acknowledged.then_some(packet_id);
            // An alias may stand for the name.
            let topic = if properties.topic_alias().is_some() && retain { "" } else { topic };
            Packet::Publish(Publish { dup, qos, retain, topic, packet_id, properties, payload })
        })
        .boxed()
}

fn acks(version: Version) -> Any {
    let ack = move |kind, wrap: fn(Ack<'static>) -> Packet<'static>| {
        (packet_id(), code(kind), packet_properties(kind, version)).prop_map(
            move |(packet_id, reason, properties)| {
                let reason = if version == Version::V311 { ReasonCode::SUCCESS } else { reason };
                wrap(Ack { packet_id, reason, properties })
            },
        )
    };
    prop_oneof![
        ack(PacketType::PubAck, Packet::PubAck),
        ack(PacketType::PubRec, Packet::PubRec),
        ack(PacketType::PubRel, Packet::PubRel),
        ack(PacketType::PubComp, Packet::PubComp),
    ]
    .boxed()
}

fn subscription(version: Version) -> impl Strategy<Value = Subscription<'static>> {
    let handling = select(vec![RetainHandling::Send, RetainHandling::SendIfNew, RetainHandling::DoNotSend]);
    let options = (any::<bool>(), any::<bool>(), handling).prop_map(move |options| match version {
        Version::V311 => (false, false, RetainHandling::Send),
        Version::V5 => options,
    });
    (text(), qos(), options).prop_map(|(filter, qos, (no_local, retain_as_published, retain_handling))| {
        let no_local = no_local && !filter.starts_with("$share/");
        Subscription { filter, qos, no_local, retain_as_published, retain_handling }
    })
}

fn subscribe(version: Version) -> Any {
    (packet_id(), packet_properties(PacketType::Subscribe, version), list(subscription(version), 1..4))
        .prop_map(|(packet_id, properties, subscriptions)| {
            Packet::Subscribe(Subscribe { packet_id, properties, subscriptions: List::new(subscriptions) })
        })
        .boxed()
}

fn unsubscribe(version: Version) -> Any {
    (packet_id(), packet_properties(PacketType::Unsubscribe, version), list(text(), 1..4))
        .prop_map(|(packet_id, properties, filters)| {
            Packet::Unsubscribe(Unsubscribe { packet_id, properties, filters: List::new(filters) })
        })
        .boxed()
}

fn suback(version: Version) -> Any {
    let one = code(PacketType::SubAck).prop_map(move |code| match (version, code.as_byte()) {
        (Version::V311, 3..) => 0x80,
        (_, byte) => byte,
    });
    (packet_id(), packet_properties(PacketType::SubAck, version), list(one, 1..4))
        .prop_map(|(packet_id, properties, codes)| Packet::SubAck(SubAck { packet_id, properties, codes }))
        .boxed()
}

fn unsuback(version: Version) -> Any {
    let count = if version == Version::V311 { 0..=0 } else { 1..=3 };
    let codes = list(code(PacketType::UnsubAck).prop_map(ReasonCode::as_byte), count);
    (packet_id(), packet_properties(PacketType::UnsubAck, version), codes)
        .prop_map(|(packet_id, properties, codes)| {
            Packet::UnsubAck(UnsubAck { packet_id, properties, codes })
        })
        .boxed()
}

fn disconnect(version: Version) -> Any {
    (code(PacketType::Disconnect), packet_properties(PacketType::Disconnect, version))
        .prop_map(move |(reason, properties)| {
            let reason = if version == Version::V311 { ReasonCode::SUCCESS } else { reason };
            Packet::Disconnect(Disconnect { reason, properties })
        })
        .boxed()
}
