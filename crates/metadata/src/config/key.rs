//! One row of the table: what is known of a setting.

/// Type of a setting's value, as in Kafka's `ConfigDef.Type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Boolean,
    String,
    Int,
    Short,
    Long,
    Double,
    List,
    Class,
    Password,
}

impl Kind {
    /// The type's number in a DescribeConfigs response.
    pub fn id(self) -> i8 {
        match self {
            Kind::Boolean => 1,
            Kind::String => 2,
            Kind::Int => 3,
            Kind::Short => 4,
            Kind::Long => 5,
            Kind::Double => 6,
            Kind::List => 7,
            Kind::Class => 8,
            Kind::Password => 9,
        }
    }

    /// The type's name in Kafka's messages.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Boolean => "BOOLEAN",
            Kind::String => "STRING",
            Kind::Int => "INT",
            Kind::Short => "SHORT",
            Kind::Long => "LONG",
            Kind::Double => "DOUBLE",
            Kind::List => "LIST",
            Kind::Class => "CLASS",
            Kind::Password => "PASSWORD",
        }
    }
}

/// Values that are allowed beyond what the type says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Valid {
    Any,
    AtLeast(i64),
    Range(i64, i64),
    /// For doubles; both ends are allowed.
    Between(f64, f64),
    OneOf(&'static [&'static str]),
    OneOfIgnoringCase(&'static [&'static str]),
    /// A list of items; one that is there again does not count (KIP-1161). `of` empty allows any item.
    Items {
        of: &'static [&'static str],
        may_be_empty: bool,
    },
    NotEmpty,
    /// 1 to 9, or -1 for zlib's own default.
    GzipLevel,
    /// `partition:broker,...`, or `*`.
    ThrottledReplicas,
    /// `id@host:port,...`
    Voters,
    /// `host:port,...`
    Endpoints,
    /// `latest`, `earliest` or `by_duration:` and an ISO 8601 duration.
    OffsetReset,
}

/// How much attention Kafka says a setting deserves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Importance {
    High,
    Medium,
    Low,
}

/// Where a broker setting can be changed while the broker runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Update {
    /// Only in the file, with a restart.
    ReadOnly,
    /// For each broker by itself.
    PerBroker,
    /// For each broker, and as a default for all.
    ClusterWide,
}

/// What setting a key does in this broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Works,
    /// Belongs to the named feature, which this version does not have: the value is kept and told about at start.
    Later(&'static str),
    /// Has no effect here, for the reason given: told once at start.
    Ignored(&'static str),
    /// Protects or promises something that is not there: any value but the default refuses the start.
    Refused(&'static str),
}

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    pub name: &'static str,
    pub kind: Kind,
    /// The default as text; `None` is Kafka's null (not set).
    pub default: Option<&'static str>,
    /// Kafka has no default and insists on a value (in a file of the 4.x kind).
    pub required: bool,
    pub valid: Valid,
    pub importance: Importance,
    /// Kafka hides it from its documentation and from DescribeConfigs.
    pub internal: bool,
    pub update: Update,
    pub effect: Effect,
    /// One sentence.
    pub doc: &'static str,
}

impl Key {
    /// Secrets are never shown, neither in answers nor in logs.
    pub fn is_sensitive(&self) -> bool {
        self.kind == Kind::Password
    }
}

/// The table is written with these: `int("x").default("1").at_least(0).high().works("What it is for.")`.
macro_rules! kinds {
    ($($function:ident $kind:ident),*) => {$(
        pub(super) const fn $function(name: &'static str) -> Key {
            Key::new(name, Kind::$kind)
        }
    )*};
}

kinds!(boolean Boolean, string String, int Int, short Short, long Long, double Double, list List, class Class, password Password);

impl Key {
    const fn new(name: &'static str, kind: Kind) -> Key {
        let valid = match kind {
            Kind::List => Valid::Items { of: &[], may_be_empty: true },
            _ => Valid::Any,
        };
        Key {
            name,
            kind,
            default: None,
            required: false,
            valid,
            importance: Importance::Medium,
            internal: false,
            update: Update::ReadOnly,
            effect: Effect::Works,
            doc: "",
        }
    }

    pub(super) const fn default(mut self, text: &'static str) -> Key {
        self.default = Some(text);
        self
    }

    pub(super) const fn required(mut self) -> Key {
        self.required = true;
        self
    }

    pub(super) const fn at_least(mut self, least: i64) -> Key {
        self.valid = Valid::AtLeast(least);
        self
    }

    pub(super) const fn range(mut self, least: i64, most: i64) -> Key {
        self.valid = Valid::Range(least, most);
        self
    }

    pub(super) const fn between(mut self, least: f64, most: f64) -> Key {
        self.valid = Valid::Between(least, most);
        self
    }

    pub(super) const fn one_of(mut self, values: &'static [&'static str]) -> Key {
        self.valid = Valid::OneOf(values);
        self
    }

    pub(super) const fn one_of_ignoring_case(mut self, values: &'static [&'static str]) -> Key {
        self.valid = Valid::OneOfIgnoringCase(values);
        self
    }

    /// A list of these items, which may be empty.
    pub(super) const fn items(mut self, of: &'static [&'static str]) -> Key {
        self.valid = Valid::Items { of, may_be_empty: true };
        self
    }

    /// A string or a list that must not be empty; for lists, items come first.
    pub(super) const fn not_empty(mut self) -> Key {
        self.valid = match self.valid {
            Valid::Items { of, .. } => Valid::Items { of, may_be_empty: false },
            _ => Valid::NotEmpty,
        };
        self
    }

    pub(super) const fn valid(mut self, valid: Valid) -> Key {
        self.valid = valid;
        self
    }

    pub(super) const fn high(mut self) -> Key {
        self.importance = Importance::High;
        self
    }

    pub(super) const fn low(mut self) -> Key {
        self.importance = Importance::Low;
        self
    }

    pub(super) const fn internal(mut self) -> Key {
        self.internal = true;
        self
    }

    pub(super) const fn per_broker(mut self) -> Key {
        self.update = Update::PerBroker;
        self
    }

    pub(super) const fn cluster_wide(mut self) -> Key {
        self.update = Update::ClusterWide;
        self
    }

    pub(super) const fn works(mut self, doc: &'static str) -> Key {
        self.doc = doc;
        self
    }

    pub(super) const fn later(mut self, feature: &'static str, doc: &'static str) -> Key {
        self.effect = Effect::Later(feature);
        self.doc = doc;
        self
    }

    pub(super) const fn ignored(mut self, reason: &'static str, doc: &'static str) -> Key {
        self.effect = Effect::Ignored(reason);
        self.doc = doc;
        self
    }

    pub(super) const fn refused(mut self, reason: &'static str, doc: &'static str) -> Key {
        self.effect = Effect::Refused(reason);
        self.doc = doc;
        self
    }
}
