// The assistant line: a few words for what the buttons do, read as the original's page reads them.

export const ADD_USAGE = 'Use: add alice 30 split alice,bob note dinner'
export const UNKNOWN = 'Unknown prompt. Try: add/balance/persist/restore/export/send'

/** What a line asks for, or `null` for an empty one. Throws what to type instead. */
export function read (line) {
  const text = line.trim()
  const lower = text.toLowerCase()
  if (!text) return null
  if (lower.startsWith('balance')) return { command: 'balance' }
  if (lower.startsWith('persist')) return { command: 'persist' }
  if (lower.startsWith('restore')) return { command: 'restore' }
  if (lower.startsWith('export')) {
    return { command: 'export', format: (text.match(/export\s+(text|json|csv)/i)?.[1] ?? 'text').toLowerCase() }
  }
  if (lower.startsWith('send ')) return { command: 'send', text: text.slice('send '.length).trim() }
  if (lower.startsWith('add ')) return { command: 'add', ...expense(text) }
  throw new Error(UNKNOWN)
}

function expense (text) {
  const amount = text.match(/\b(\d+(?:\.\d+)?)\b/)
  const payer = text.match(/add\s+([a-z0-9_-]+)/i)
  const split = text.match(/split\s+([a-z0-9_,-]+)/i)
  const note = text.match(/note\s+(.+)$/i)
  if (!amount || !payer || !split) throw new Error(ADD_USAGE)
  return { payer: payer[1], amount: amount[1], split: split[1], note: note ? note[1] : '' }
}
