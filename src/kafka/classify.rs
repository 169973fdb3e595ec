//! What a Kafka error means for the record that met it.
//!
//! Owns one pure table. Keeping a record costs memory, dropping one breaks a promise: so [`Class::Drop`] is only
//! what can never be accepted, [`Class::Fatal`] only what ends the producer instance, and all else is
//! [`Class::Retry`], if need be with a [`Condition`] that tells a person what to put right.
//! Knows nothing of attempts, instances or batches: who retries, and how often, is delivery's own business.

use rdkafka::types::RDKafkaErrorCode;

/// What to do with the record that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Keep it and hand it over again.
    Retry,
    /// Kafka will never take it. Sound only if it was alone in its request: brokers answer for a whole batch.
    Drop,
    /// The producer instance cannot go on without risking loss or disorder; the record itself is good.
    Fatal,
}

/// What keeps records waiting and does not pass by itself: named, so that status and metrics can say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Condition {
    /// TLS or SASL refused us: credentials or certificates.
    Authentication,
    /// Kafka knows us but an ACL is missing.
    Authorization,
    /// The topic or partition does not exist.
    UnknownTopic,
    /// No connection to a broker.
    KafkaUnreachable,
    /// Fewer in-sync replicas than `min.insync.replicas`.
    NotEnoughReplicas,
    /// A broker's disk fails.
    BrokerStorage,
    /// The record's timestamp is outside what the topic allows.
    RecordTime,
    /// A client quota holds us back.
    Quota,
    /// Settings of broker, topic or this client do not fit together.
    Settings,
    /// A code that this build does not know.
    UnknownCode,
}

impl Condition {
    /// Returns the name used in status and as a metric label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Authentication => "authentication",
            Self::Authorization => "authorization",
            Self::UnknownTopic => "unknown_topic",
            Self::KafkaUnreachable => "kafka_unreachable",
            Self::NotEnoughReplicas => "not_enough_replicas",
            Self::BrokerStorage => "broker_storage",
            Self::RecordTime => "record_time",
            Self::Quota => "quota",
            Self::Settings => "settings",
            Self::UnknownCode => "unknown_code",
        }
    }
}

/// Returns what to do with a record whose delivery failed with `code`.
#[must_use]
pub fn classify(code: RDKafkaErrorCode) -> Class {
    verdict(code).0
}

/// Returns what a person must know about `code`; `None` if it passes by itself or concerns the record only.
#[must_use]
pub fn condition(code: RDKafkaErrorCode) -> Option<Condition> {
    verdict(code).1
}

/// The table. Codes as in librdkafka's `rd_kafka_resp_err_t`, below -1 its own, from 0 the protocol's.
#[allow(clippy::match_same_arms, reason = "codes of one answer are told apart by why it is right")]
#[rustfmt::skip] // One code per line would hide the table in 170 lines.
fn verdict(code: RDKafkaErrorCode) -> (Class, Option<Condition>) {
    use RDKafkaErrorCode as C;
    match code {
        // This very record will be refused for ever: too large, or refused by the topic's own validation.
        C::MessageSizeTooLarge | C::MessageBatchTooLarge | C::InvalidRecord => (Class::Drop, None),
        // The instance can no longer tell what Kafka has: its sequence, its producer id or its epoch is gone.
        C::Fatal | C::Inconsistent | C::GaplessGuarantee | C::Fenced | C::OutOfOrderSequenceNumber
        | C::InvalidProducerEpoch | C::InvalidProducerIdMapping | C::UnknownProducerId | C::ProducerFenced
            => (Class::Fatal, None),
        // Credentials are put right while we hold the records.
        C::SSL | C::Authentication | C::UnsupportedSASLMechanism | C::IllegalSASLState
        | C::SecurityDisabled | C::SaslAuthenticationFailed | C::DelegationTokenAuthDisabled
        | C::DelegationTokenNotFound | C::DelegationTokenOwnerMismatch | C::DelegationTokenRequestNotAllowed
        | C::DelegationTokenExpired | C::InvalidPrincipalType | C::UnacceptableCredential
        | C::PrincipalDeserializationFailure => (Class::Retry, Some(Condition::Authentication)),
        // An ACL is added while we hold the records.
        C::TopicAuthorizationFailed | C::GroupAuthorizationFailed | C::ClusterAuthorizationFailed
        | C::TransactionalIdAuthorizationFailed | C::DelegationTokenAuthorizationFailed
            => (Class::Retry, Some(Condition::Authorization)),
        // A topic may be made, or made again, later.
        C::UnknownPartition | C::UnknownTopic | C::UnknownTopicOrPartition | C::InvalidTopic
        | C::UnknownTopicId => (Class::Retry, Some(Condition::UnknownTopic)),
        // Also seen while brokers restart; a condition only says so, it loses nothing.
        C::BrokerTransportFailure | C::Resolve | C::AllBrokersDown | C::BrokerNotAvailable
        | C::NetworkException | C::ListenerNotFound | C::RebootstrapRequired
            => (Class::Retry, Some(Condition::KafkaUnreachable)),
        C::ISRInsufficient | C::NotEnoughReplicas | C::NotEnoughReplicasAfterAppend
            => (Class::Retry, Some(Condition::NotEnoughReplicas)),
        C::KafkaStorageError | C::LogDirNotFound => (Class::Retry, Some(Condition::BrokerStorage)),
        // A record of a site whose clock was wrong: sent again with the time of the hand-over, never dropped.
        C::InvalidTimestamp => (Class::Retry, Some(Condition::RecordTime)),
        C::ThrottlingQuotaExceeded => (Class::Retry, Some(Condition::Quota)),
        // Broker, topic or our settings refuse what every record has in common: a person decides, nothing is dropped.
        C::BadCompression | C::CriticalSystemResource | C::FileSystem | C::InvalidArgument
        | C::UnsupportedFeature | C::NotConfigured | C::InvalidRequiredAcks | C::UnsupportedVersion
        | C::InvalidConfig | C::InvalidRequest | C::UnsupportedForMessageFormat | C::PolicyViolation
        | C::UnsupportedCompressionType => (Class::Retry, Some(Condition::Settings)),
        // Passes by itself. `NoError` is no failure; asked about it, keeping the record is the harmless answer.
        C::Fail | C::BadMessage | C::MessageTimedOut | C::OperationTimedOut | C::QueueFull
        | C::TimedOutQueue | C::InProgress | C::PreviousInProgress | C::WaitCache | C::Interrupted
        | C::Partial | C::Retry | C::PurgeQueue | C::PurgeInflight | C::BrokerDestroy | C::DestroyBroker
        | C::NodeUpdate | C::UnknownBroker | C::InvalidDifferentRecord | C::Unknown | C::NoError
        | C::InvalidMessage | C::InvalidMessageSize | C::LeaderNotAvailable | C::NotLeaderForPartition
        | C::RequestTimedOut | C::ReplicaNotAvailable | C::StaleControllerEpoch | C::NotController
        | C::DuplicateSequenceNumber | C::OperationNotAttempted | C::ReassignmentInProgress
        | C::FencedLeaderEpoch | C::UnknownLeaderEpoch | C::StaleBrokerEpoch | C::OffsetNotAvailable
        | C::PreferredLeaderNotAvailable | C::EligibleLeadersNotAvailable | C::ElectionNotNeeded
            => (Class::Retry, None),
        // Codes of consumers and groups, which no delivery report carries: should one ever, the record is kept.
        C::PartitionEOF | C::WaitingForCoordinator | C::UnknownGroup | C::ExistingSubscription
        | C::AssignPartitions | C::RevokePartitions | C::UnknownProtocol | C::NoOffset | C::PollExceeded
        | C::AssignmentLost | C::AutoOffsetReset | C::LogTruncation | C::OffsetOutOfRange
        | C::OffsetMetadataTooLarge | C::CoordinatorLoadInProgress | C::CoordinatorNotAvailable
        | C::NotCoordinator | C::IllegalGeneration | C::InconsistentGroupProtocol | C::InvalidGroupId
        | C::UnknownMemberId | C::InvalidSessionTimeout | C::RebalanceInProgress
        | C::InvalidCommitOffsetSize | C::NonEmptyGroup | C::GroupIdNotFound | C::FetchSessionIdNotFound
        | C::InvalidFetchSessionEpoch | C::MemberIdRequired | C::GroupMaxSizeReached | C::FencedInstanceId
        | C::GroupSubscribedToTopic | C::UnstableOffsetCommit | C::FencedMemberEpoch
        | C::UnreleasedInstanceId | C::UnsupportedAssignor | C::StaleMemberEpoch => (Class::Retry, None),
        // Codes of topic administration, transactions and telemetry: likewise.
        C::TopicAlreadyExists | C::InvalidPartitions | C::InvalidReplicationFactor
        | C::InvalidReplicaAssignment | C::TopicDeletionDisabled | C::NoReassignmentInProgress
        | C::ResourceNotFound | C::DuplicateResource | C::InconsistentVoterSet | C::InvalidUpdateVersion
        | C::FeatureUpdateFailed | C::UnknownSubscriptionId | C::TelemetryTooLarge
        | C::InvalidTransactionalState | C::InvalidTransactionTimeout | C::ConcurrentTransactions
        | C::TransactionCoordinatorFenced => (Class::Retry, None),
        // librdkafka's own markers and local codes: likewise.
        C::Conflict | C::State | C::NotImplemented | C::Outdated | C::KeySerialization
        | C::ValueSerialization | C::KeyDeserialization | C::ValueDeserialization | C::ReadOnly | C::NoEnt
        | C::Underflow | C::InvalidType | C::Application | C::Noop | C::Begin | C::End | C::EndAll
            => (Class::Retry, None),
        // The enum is `non_exhaustive`, so the compiler asks for this arm; that no code of the librdkafka we build
        // with comes here is held by a test.
        _ => (Class::Retry, Some(Condition::UnknownCode)),
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::types::{RDKafkaErrorCode as C, RDKafkaRespErr};

    use super::*;

    /// One row per code; written apart from the match, so that moving a code takes two deliberate edits.
    #[rustfmt::skip]
    const TABLE: &[(C, Class, Option<Condition>)] = &[
        // Drop
        (C::MessageSizeTooLarge, Class::Drop, None),
        (C::MessageBatchTooLarge, Class::Drop, None),
        (C::InvalidRecord, Class::Drop, None),
        // Fatal
        (C::Fatal, Class::Fatal, None),
        (C::Inconsistent, Class::Fatal, None),
        (C::GaplessGuarantee, Class::Fatal, None),
        (C::Fenced, Class::Fatal, None),
        (C::OutOfOrderSequenceNumber, Class::Fatal, None),
        (C::InvalidProducerEpoch, Class::Fatal, None),
        (C::InvalidProducerIdMapping, Class::Fatal, None),
        (C::UnknownProducerId, Class::Fatal, None),
        (C::ProducerFenced, Class::Fatal, None),
        // Retry Authentication
        (C::SSL, Class::Retry, Some(Condition::Authentication)),
        (C::Authentication, Class::Retry, Some(Condition::Authentication)),
        (C::UnsupportedSASLMechanism, Class::Retry, Some(Condition::Authentication)),
        (C::IllegalSASLState, Class::Retry, Some(Condition::Authentication)),
        (C::SecurityDisabled, Class::Retry, Some(Condition::Authentication)),
        (C::SaslAuthenticationFailed, Class::Retry, Some(Condition::Authentication)),
        (C::DelegationTokenAuthDisabled, Class::Retry, Some(Condition::Authentication)),
        (C::DelegationTokenNotFound, Class::Retry, Some(Condition::Authentication)),
        (C::DelegationTokenOwnerMismatch, Class::Retry, Some(Condition::Authentication)),
        (C::DelegationTokenRequestNotAllowed, Class::Retry, Some(Condition::Authentication)),
        (C::DelegationTokenExpired, Class::Retry, Some(Condition::Authentication)),
        (C::InvalidPrincipalType, Class::Retry, Some(Condition::Authentication)),
        (C::UnacceptableCredential, Class::Retry, Some(Condition::Authentication)),
        (C::PrincipalDeserializationFailure, Class::Retry, Some(Condition::Authentication)),
        // Retry Authorization
        (C::TopicAuthorizationFailed, Class::Retry, Some(Condition::Authorization)),
        (C::GroupAuthorizationFailed, Class::Retry, Some(Condition::Authorization)),
        (C::ClusterAuthorizationFailed, Class::Retry, Some(Condition::Authorization)),
        (C::TransactionalIdAuthorizationFailed, Class::Retry, Some(Condition::Authorization)),
        (C::DelegationTokenAuthorizationFailed, Class::Retry, Some(Condition::Authorization)),
        // Retry UnknownTopic
        (C::UnknownPartition, Class::Retry, Some(Condition::UnknownTopic)),
        (C::UnknownTopic, Class::Retry, Some(Condition::UnknownTopic)),
        (C::UnknownTopicOrPartition, Class::Retry, Some(Condition::UnknownTopic)),
        (C::InvalidTopic, Class::Retry, Some(Condition::UnknownTopic)),
        (C::UnknownTopicId, Class::Retry, Some(Condition::UnknownTopic)),
        // Retry KafkaUnreachable
        (C::BrokerTransportFailure, Class::Retry, Some(Condition::KafkaUnreachable)),
        (C::Resolve, Class::Retry, Some(Condition::KafkaUnreachable)),
        (C::AllBrokersDown, Class::Retry, Some(Condition::KafkaUnreachable)),
        (C::BrokerNotAvailable, Class::Retry, Some(Condition::KafkaUnreachable)),
        (C::NetworkException, Class::Retry, Some(Condition::KafkaUnreachable)),
        (C::ListenerNotFound, Class::Retry, Some(Condition::KafkaUnreachable)),
        (C::RebootstrapRequired, Class::Retry, Some(Condition::KafkaUnreachable)),
        // Retry NotEnoughReplicas
        (C::ISRInsufficient, Class::Retry, Some(Condition::NotEnoughReplicas)),
        (C::NotEnoughReplicas, Class::Retry, Some(Condition::NotEnoughReplicas)),
        (C::NotEnoughReplicasAfterAppend, Class::Retry, Some(Condition::NotEnoughReplicas)),
        // Retry BrokerStorage
        (C::KafkaStorageError, Class::Retry, Some(Condition::BrokerStorage)),
        (C::LogDirNotFound, Class::Retry, Some(Condition::BrokerStorage)),
        // Retry RecordTime
        (C::InvalidTimestamp, Class::Retry, Some(Condition::RecordTime)),
        // Retry Quota
        (C::ThrottlingQuotaExceeded, Class::Retry, Some(Condition::Quota)),
        // Retry Settings
        (C::BadCompression, Class::Retry, Some(Condition::Settings)),
        (C::CriticalSystemResource, Class::Retry, Some(Condition::Settings)),
        (C::FileSystem, Class::Retry, Some(Condition::Settings)),
        (C::InvalidArgument, Class::Retry, Some(Condition::Settings)),
        (C::UnsupportedFeature, Class::Retry, Some(Condition::Settings)),
        (C::NotConfigured, Class::Retry, Some(Condition::Settings)),
        (C::InvalidRequiredAcks, Class::Retry, Some(Condition::Settings)),
        (C::UnsupportedVersion, Class::Retry, Some(Condition::Settings)),
        (C::InvalidConfig, Class::Retry, Some(Condition::Settings)),
        (C::InvalidRequest, Class::Retry, Some(Condition::Settings)),
        (C::UnsupportedForMessageFormat, Class::Retry, Some(Condition::Settings)),
        (C::PolicyViolation, Class::Retry, Some(Condition::Settings)),
        (C::UnsupportedCompressionType, Class::Retry, Some(Condition::Settings)),
        // Retry
        (C::Begin, Class::Retry, None),
        (C::BadMessage, Class::Retry, None),
        (C::BrokerDestroy, Class::Retry, None),
        (C::Fail, Class::Retry, None),
        (C::MessageTimedOut, Class::Retry, None),
        (C::PartitionEOF, Class::Retry, None),
        (C::OperationTimedOut, Class::Retry, None),
        (C::QueueFull, Class::Retry, None),
        (C::NodeUpdate, Class::Retry, None),
        (C::WaitingForCoordinator, Class::Retry, None),
        (C::UnknownGroup, Class::Retry, None),
        (C::InProgress, Class::Retry, None),
        (C::PreviousInProgress, Class::Retry, None),
        (C::ExistingSubscription, Class::Retry, None),
        (C::AssignPartitions, Class::Retry, None),
        (C::RevokePartitions, Class::Retry, None),
        (C::Conflict, Class::Retry, None),
        (C::State, Class::Retry, None),
        (C::UnknownProtocol, Class::Retry, None),
        (C::NotImplemented, Class::Retry, None),
        (C::NoOffset, Class::Retry, None),
        (C::Outdated, Class::Retry, None),
        (C::TimedOutQueue, Class::Retry, None),
        (C::WaitCache, Class::Retry, None),
        (C::Interrupted, Class::Retry, None),
        (C::KeySerialization, Class::Retry, None),
        (C::ValueSerialization, Class::Retry, None),
        (C::KeyDeserialization, Class::Retry, None),
        (C::ValueDeserialization, Class::Retry, None),
        (C::Partial, Class::Retry, None),
        (C::ReadOnly, Class::Retry, None),
        (C::NoEnt, Class::Retry, None),
        (C::Underflow, Class::Retry, None),
        (C::InvalidType, Class::Retry, None),
        (C::Retry, Class::Retry, None),
        (C::PurgeQueue, Class::Retry, None),
        (C::PurgeInflight, Class::Retry, None),
        (C::PollExceeded, Class::Retry, None),
        (C::UnknownBroker, Class::Retry, None),
        (C::Application, Class::Retry, None),
        (C::AssignmentLost, Class::Retry, None),
        (C::Noop, Class::Retry, None),
        (C::AutoOffsetReset, Class::Retry, None),
        (C::LogTruncation, Class::Retry, None),
        (C::InvalidDifferentRecord, Class::Retry, None),
        (C::DestroyBroker, Class::Retry, None),
        (C::End, Class::Retry, None),
        (C::Unknown, Class::Retry, None),
        (C::NoError, Class::Retry, None),
        (C::OffsetOutOfRange, Class::Retry, None),
        (C::InvalidMessage, Class::Retry, None),
        (C::InvalidMessageSize, Class::Retry, None),
        (C::LeaderNotAvailable, Class::Retry, None),
        (C::NotLeaderForPartition, Class::Retry, None),
        (C::RequestTimedOut, Class::Retry, None),
        (C::ReplicaNotAvailable, Class::Retry, None),
        (C::StaleControllerEpoch, Class::Retry, None),
        (C::OffsetMetadataTooLarge, Class::Retry, None),
        (C::CoordinatorLoadInProgress, Class::Retry, None),
        (C::CoordinatorNotAvailable, Class::Retry, None),
        (C::NotCoordinator, Class::Retry, None),
        (C::IllegalGeneration, Class::Retry, None),
        (C::InconsistentGroupProtocol, Class::Retry, None),
        (C::InvalidGroupId, Class::Retry, None),
        (C::UnknownMemberId, Class::Retry, None),
        (C::InvalidSessionTimeout, Class::Retry, None),
        (C::RebalanceInProgress, Class::Retry, None),
        (C::InvalidCommitOffsetSize, Class::Retry, None),
        (C::TopicAlreadyExists, Class::Retry, None),
        (C::InvalidPartitions, Class::Retry, None),
        (C::InvalidReplicationFactor, Class::Retry, None),
        (C::InvalidReplicaAssignment, Class::Retry, None),
        (C::NotController, Class::Retry, None),
        (C::DuplicateSequenceNumber, Class::Retry, None),
        (C::InvalidTransactionalState, Class::Retry, None),
        (C::InvalidTransactionTimeout, Class::Retry, None),
        (C::ConcurrentTransactions, Class::Retry, None),
        (C::TransactionCoordinatorFenced, Class::Retry, None),
        (C::OperationNotAttempted, Class::Retry, None),
        (C::ReassignmentInProgress, Class::Retry, None),
        (C::NonEmptyGroup, Class::Retry, None),
        (C::GroupIdNotFound, Class::Retry, None),
        (C::FetchSessionIdNotFound, Class::Retry, None),
        (C::InvalidFetchSessionEpoch, Class::Retry, None),
        (C::TopicDeletionDisabled, Class::Retry, None),
        (C::FencedLeaderEpoch, Class::Retry, None),
        (C::UnknownLeaderEpoch, Class::Retry, None),
        (C::StaleBrokerEpoch, Class::Retry, None),
        (C::OffsetNotAvailable, Class::Retry, None),
        (C::MemberIdRequired, Class::Retry, None),
        (C::PreferredLeaderNotAvailable, Class::Retry, None),
        (C::GroupMaxSizeReached, Class::Retry, None),
        (C::FencedInstanceId, Class::Retry, None),
        (C::EligibleLeadersNotAvailable, Class::Retry, None),
        (C::ElectionNotNeeded, Class::Retry, None),
        (C::NoReassignmentInProgress, Class::Retry, None),
        (C::GroupSubscribedToTopic, Class::Retry, None),
        (C::UnstableOffsetCommit, Class::Retry, None),
        (C::ResourceNotFound, Class::Retry, None),
        (C::DuplicateResource, Class::Retry, None),
        (C::InconsistentVoterSet, Class::Retry, None),
        (C::InvalidUpdateVersion, Class::Retry, None),
        (C::FeatureUpdateFailed, Class::Retry, None),
        (C::FencedMemberEpoch, Class::Retry, None),
        (C::UnreleasedInstanceId, Class::Retry, None),
        (C::UnsupportedAssignor, Class::Retry, None),
        (C::StaleMemberEpoch, Class::Retry, None),
        (C::UnknownSubscriptionId, Class::Retry, None),
        (C::TelemetryTooLarge, Class::Retry, None),
    ];

    #[test]
    fn every_code_has_its_class_and_condition() {
        for (code, class, expected) in TABLE {
            assert_eq!((classify(*code), condition(*code)), (*class, *expected), "{code:?}");
        }
    }

    #[test]
    fn every_code_of_this_librdkafka_stands_in_the_table_once() {
        // 1 000 is far above the last code of the protocol (about 130).
        let known = (-200..1_000).filter_map(|code| RDKafkaRespErr::try_from(code).ok());
        let mut codes = 0;
        for code in known.filter(|code| *code != RDKafkaRespErr::RD_KAFKA_RESP_ERR_END_ALL).map(C::from) {
            codes += 1;
            assert_eq!(TABLE.iter().filter(|(listed, ..)| *listed == code).count(), 1, "{code:?}");
        }
        assert_eq!(codes, TABLE.len());
    }

    #[test]
    fn only_a_record_that_kafka_will_never_take_is_dropped() {
        let dropped: Vec<_> = TABLE.iter().filter(|row| row.1 == Class::Drop).map(|row| row.0).collect();
        assert_eq!(dropped, [C::MessageSizeTooLarge, C::MessageBatchTooLarge, C::InvalidRecord]);
    }
}
