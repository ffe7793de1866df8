// What the page knows of a room.

/** Messages kept of a room; the oldest go. */
export const MAX_MESSAGES = 500

/** How the ledger's own messages are marked (original: features/expense-split). */
const LEDGER = 'expense_split_v1'

let nextKey = 1

export class Room {
  constructor (name) {
    this.name = name
    this.joined = false
    this.listening = true
    this.messages = []
    this.unread = 0
    this.draft = ''
    this.forgetLedger()
  }

  forgetLedger () {
    this.summary = null
    this.events = []
    this.ledgerError = null
    /** What the last summary was, to see that another came. */
    this.seen = null
  }

  /** Adds a message and gives it its place in the order of coming. */
  add (message) {
    const added = { key: nextKey++, ...message }
    this.messages.push(added)
    if (this.messages.length > MAX_MESSAGES) this.messages.splice(0, this.messages.length - MAX_MESSAGES)
    return added
  }
}

/** What a message of a peer is about: `text`, an `expense`, a `clear`, or other `data`. */
export function meaning (body) {
  if (typeof body === 'string') return { kind: 'text', text: body }
  if (body && typeof body === 'object' && body.app === LEDGER) {
    if (body.type === 'expense_clear') return { kind: 'clear' }
    const event = body.event
    if (body.type === 'expense_add' && event && typeof event === 'object') {
      const cents = parseInt(event.amountCents, 10)
      // What no ledger takes is shown as what it is.
      if (typeof event.payer === 'string' && event.payer.trim() && Number.isSafeInteger(cents) && cents > 0) {
        return { kind: 'expense', payer: event.payer, cents, note: typeof event.note === 'string' ? event.note : '' }
      }
    }
  }
  return { kind: 'data', text: JSON.stringify(body, null, 2) ?? '' }
}
