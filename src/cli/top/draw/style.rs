//! How the view looks: the colours of the other commands, or none of them.

use std::fmt::Display;

use ratatui::style::{Color, Modifier, Style as Shown};
use ratatui::text::Span;

/// With colours, or without.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    pub(super) colours: bool,
}

impl Style {
    pub(super) fn bold(self) -> Shown {
        Shown::new().add_modifier(Modifier::BOLD)
    }

    pub(super) fn dim(self) -> Shown {
        Shown::new().add_modifier(Modifier::DIM)
    }

    /// What is as it should be.
    pub(super) fn good(self) -> Shown {
        self.coloured(Color::Green)
    }

    /// What needs a look.
    pub(super) fn bad(self) -> Shown {
        self.coloured(Color::Red)
    }

    /// What is chosen: seen without colours, too.
    pub(super) fn chosen(self) -> Shown {
        Shown::new().add_modifier(Modifier::REVERSED)
    }

    fn coloured(self, colour: Color) -> Shown {
        if self.colours { self.bold().fg(colour) } else { self.bold() }
    }
}

/// Cut to so many columns of the terminal; an ellipsis says that there is more.
pub(super) fn fit(text: impl Display, width: usize) -> String {
    let text = text.to_string();
    if Span::raw(&text).width() <= width {
        return text;
    }
    let mut cut = String::new();
    let (mut taken, mut character) = (0, [0; 4]);
    for c in text.chars() {
        taken += Span::raw(&*c.encode_utf8(&mut character)).width();
        if taken >= width {
            break;
        }
        cut.push(c);
    }
    if width > 0 {
        cut.push('…');
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_is_cut_by_the_columns_that_it_takes() {
        assert_eq!(fit("orders.42", 9), "orders.42");
        assert_eq!(fit("orders.42", 8), "orders.…");
        assert_eq!(fit("订单.42", 5), "订单…");
        assert_eq!(fit("订单.42", 4), "订…");
        assert_eq!((fit("abc", 1), fit("abc", 0)), ("…".to_owned(), String::new()));
    }
}
