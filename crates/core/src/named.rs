//! Sets of names: enumerations that stand in the database and on the command line as words.

/// Gives an enumeration without fields its names: `ALL`, `name()`, `Display`, and `FromStr` whose error says what was
/// expected.
macro_rules! named {
    ($type:ident, $what:literal: $($variant:ident => $name:literal),+ $(,)?) => {
        impl $type {
            /// Every one of them, in order.
            pub const ALL: &'static [$type] = &[$($type::$variant),+];

            /// The word for it in the database and on the command line.
            pub fn name(self) -> &'static str {
                match self {
                    $($type::$variant => $name),+
                }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str(self.name())
            }
        }

        impl std::str::FromStr for $type {
            type Err = String;

            fn from_str(text: &str) -> Result<$type, String> {
                $type::ALL.iter().copied().find(|known| known.name() == text).ok_or_else(|| {
                    let names: Vec<&str> = $type::ALL.iter().map(|known| known.name()).collect();
                    format!("{text:?} is no {}: use one of {}", $what, names.join(", "))
                })
            }
        }
    };
}

pub(crate) use named;
