//! Balances, and who pays whom.
//!
//! Sums are made with the steps and the numbers of the original. They are exact integers below 2^53 cents; beyond, where a double
//! is no longer every integer, they round as JavaScript's do, so that all peers of a room show the same.

use encoding::json::{JsString, Object, Value};
use indexmap::IndexMap;

use super::collation::compare_names;
use super::event::Expense;

/// What a member is to receive (above zero) or owes.
#[derive(Debug, Clone, PartialEq)]
pub struct Balance {
    /// The member.
    pub member: JsString,
    /// Cents: an integer.
    pub cents: f64,
}

/// A payment that settles.
#[derive(Debug, Clone, PartialEq)]
pub struct Settlement {
    /// Who pays.
    pub from: JsString,
    /// Who is paid.
    pub to: JsString,
    /// Cents, above zero.
    pub amount_cents: f64,
}

/// A room's account.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// The room.
    pub channel: JsString,
    /// How many expenses it has.
    pub event_count: usize,
    /// The sum of their amounts in cents.
    pub total_cents: f64,
    /// One for each member, in the order of names.
    pub balances: Vec<Balance>,
    /// Payments that bring all balances to zero.
    pub settlements: Vec<Settlement>,
}

impl Summary {
    /// The account of expenses, which come in the order of their times.
    pub fn of<'a>(channel: JsString, expenses: impl Iterator<Item = &'a Expense> + Clone) -> Summary {
        let balances = balances(expenses.clone());
        let settlements = settlements(&balances);
        let (event_count, total_cents) =
            expenses.fold((0, 0.0), |(count, sum), expense| (count + 1, sum + expense.amount_cents as f64));
        Summary { channel, event_count, total_cents, balances, settlements }
    }

    /// The account as clients get it.
    pub fn to_value(&self) -> Object {
        let balances = self.balances.iter().map(|balance| {
            Value::from(Object::new().with("member", balance.member.clone()).with("cents", balance.cents))
        });
        let settlements = self.settlements.iter().map(|payment| {
            let parties = Object::new().with("from", payment.from.clone()).with("to", payment.to.clone());
            Value::from(parties.with("amountCents", payment.amount_cents))
        });
        Object::new()
            .with("channel", self.channel.clone())
            .with("eventCount", self.event_count)
            .with("totalCents", self.total_cents)
            .with("balances", balances.collect::<Vec<_>>())
            .with("settlements", settlements.collect::<Vec<_>>())
    }
}

fn balances<'a>(expenses: impl Iterator<Item = &'a Expense>) -> Vec<Balance> {
    let mut cents: IndexMap<&JsString, f64> = IndexMap::new();
    for expense in expenses {
        let (amount, members) = (expense.amount_cents as f64, expense.split.len() as f64);
        let share = (amount / members).floor();
        let remainder = amount - share * members;
        for (index, member) in expense.split.iter().enumerate() {
            let extra = if (index as f64) < remainder { 1.0 } else { 0.0 };
            *cents.entry(member).or_default() -= share + extra;
        }
        *cents.entry(&expense.payer).or_default() += amount;
    }
    let mut balances: Vec<_> =
        cents.into_iter().map(|(member, cents)| Balance { member: member.clone(), cents }).collect();
    balances.sort_by(|a, b| compare_names(&a.member, &b.member));
    balances
}

fn settlements(balances: &[Balance]) -> Vec<Settlement> {
    let mut creditors: Vec<_> = balances.iter().filter(|balance| balance.cents > 0.0).cloned().collect();
    let debts = balances.iter().filter(|balance| balance.cents < 0.0);
    let mut debtors: Vec<_> =
        debts.map(|balance| Balance { member: balance.member.clone(), cents: balance.cents.abs() }).collect();
    for side in [&mut creditors, &mut debtors] {
        side.sort_by(|a, b| b.cents.total_cmp(&a.cents));
    }
    let mut settlements = Vec::new();
    let (mut i, mut j) = (0, 0);
    while let (Some(debtor), Some(creditor)) = (debtors.get_mut(i), creditors.get_mut(j)) {
        let amount_cents = debtor.cents.min(creditor.cents);
        settlements.push(Settlement { from: debtor.member.clone(), to: creditor.member.clone(), amount_cents });
        debtor.cents -= amount_cents;
        creditor.cents -= amount_cents;
        i += usize::from(debtor.cents == 0.0);
        j += usize::from(creditor.cents == 0.0);
    }
    settlements
}
