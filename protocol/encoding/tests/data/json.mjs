// Writes json.json: what V8's JSON, numbers and strings make of many inputs, in a fixed random order.
//   node json.mjs > json.json
let state = 0x2545f491
const random = (below) => {
  state ^= state << 13
  state ^= state >>> 17
  state ^= state << 5
  return (state >>> 0) % below
}
const pick = (list) => list[random(list.length)]

const sorted = (value) => {
  if (value === null || typeof value !== 'object') return JSON.stringify(value)
  if (Array.isArray(value)) return '[' + value.map(sorted).join(',') + ']'
  const keys = Object.keys(value).sort()
  return '{' + keys.map((key) => JSON.stringify(key) + ':' + sorted(value[key])).join(',') + '}'
}

const hex = (text) => Buffer.from(text, typeof text === 'string' ? 'utf8' : undefined).toString('hex')

const units = [0, 8, 9, 10, 12, 13, 0x1f, 0x20, 0x22, 0x2f, 0x5c, 0x61, 0x7f, 0x80, 0xe9, 0x7ff, 0x800, 0x2028, 0x2029, 0xd7ff,
  0xd800, 0xd83d, 0xdbff, 0xdc00, 0xde00, 0xdfff, 0xe000, 0xfeff, 0xfffd, 0xffff]
const escape = (unit) => {
  const short = { 8: '\\b', 9: '\\t', 10: '\\n', 12: '\\f', 13: '\\r', 0x22: '\\"', 0x5c: '\\\\', 0x2f: pick(['/', '\\/']) }
  if (short[unit] && random(2)) return short[unit]
  const digits = unit.toString(16).padStart(4, '0')
  return '\\u' + (random(2) ? digits.toUpperCase() : digits)
}
const stringText = () => {
  let text = '"'
  for (let n = random(6); n > 0; n--) {
    const unit = pick(units)
    const raw = unit >= 0x20 && unit !== 0x22 && unit !== 0x5c && (unit < 0xd800 || unit > 0xdfff)
    text += raw && random(2) ? String.fromCharCode(unit) : escape(unit)
    if (!random(4)) text += pick(['plain', '😀', 'ünï', '\\ud83d\\ude00', '\\ude00\\ud83d'])
  }
  return text + '"'
}
const doubles = () => {
  const view = new DataView(new ArrayBuffer(8))
  view.setUint32(0, random(2 ** 32))
  view.setUint32(4, random(2 ** 32))
  return view.getFloat64(0)
}
const numbers = ['0', '-0', '0.0', '-0.0', '1', '-1', '1.0', '10', '100', '1e2', '1E+2', '1e-2', '0.1', '0.000001', '0.0000001', '1e-7', '1e20',
  '1e21', '123456789012345680000', '1234567890123456789', '9007199254740991', '9007199254740992', '9007199254740993',
  '9223372036854775807', '18446744073709551615', '18446744073709551616', '5e-324', '2e-324', '1.7976931348623157e308',
  '1e308', '1e309', '-1e309', '1e999', '0e999', '0.30000000000000004', '4.35', '1.005', '2.2250738585072014e-308', '1e-400',
  '123456.789e3', '0.1e1', '100000000000000000000000', '4.35e-10', '1e5', '1e15', '1e16', '1e17']
const numberText = () => (random(2) ? pick(numbers) : String(random(2) ? doubles() : random(2 ** 32) / pick([1, 2, 8, 10, 100, 1000])).replace('NaN', '1').replace(/-?Infinity/, '2'))
const keys = ['a', 'b', 'c', '', '0', '1', '9', '10', '01', '00', '-1', '-0', '1.0', '+1', '4294967294', '4294967295', '4294967296', '2147483648', '99999999999',
  '__proto__', 'constructor', 'toString', 'length', 'toJSON', 'é', 'z', 'A', '😀', '～', '', '\u2028', ' ', '1 ', 'id', 'ts']
const keyText = () => (random(5) ? JSON.stringify(pick(keys)) : stringText())
const space = () => (random(6) ? '' : pick([' ', '\n', '\t', '\r', ' \n ']))
const text = (depth) => {
  const kind = random(depth > 0 ? 8 : 5)
  if (kind === 0) return pick(['null', 'true', 'false'])
  if (kind <= 2) return numberText()
  if (kind <= 4) return stringText()
  const items = []
  for (let n = random(6); n > 0; n--) items.push(space() + (kind <= 5 ? '' : keyText() + space() + ':' + space()) + text(depth - 1) + space())
  return kind <= 5 ? '[' + items.join(',') + ']' : '{' + items.join(',') + '}'
}

const inputs = ['', ' ', '\ufeff1', '\ufeff', '[1,]', '[,1]', '{"a":1,}', '{,}', '{a:1}', "{'a':1}", '{"a"}', '{"a":}', '{"a":1 "b":2}', '01', '-', '-a', '+1', '.5', '5.',
  '1.e2', '1e', '1e+', '0x10', 'NaN', 'Infinity', '-Infinity', 'undefined', 'nul', 'nulll', 'True', '[1 2]', '[', ']', '{', '}', '"', '"\\', '"\\u12', '"\\u123g"', '"\\x41"',
  '"\\v"', '"\\0"', '"\t"', '"\n"', '"\u007f"', '"\u2028"', '1 2', '1,', '[1]]', '{"a":1}}', '//1', '/*1*/1', '1\u00a0', '\u000b1', '\f1', ' 1 ', '\r\n\t 1', '"a"b', '--1', '1-', '1e1.5',
  '0.', '00', '-01', '-0', '1E400', '-1e-400', '[-0,0,-0.0]', '"\\ud800"', '"\\udc00\\ud800"', '"\\ud83d\\ude00"', '"\\uD83D\\u0061"', '{"a":1,"b":2,"a":3}', '{"b":1,"a":2,"10":3,"9":4,"01":5}',
  '{"__proto__":{"x":1},"a":1}', '[[[[[]]]]]', '{"":{"":{}}}', '"' + 'x'.repeat(40) + '\\n' + 'y'.repeat(40) + '"', '{"a":[],"b":{},"c":[{}],"d":[[]]}']
const bytes = [[0x22, 0xff, 0x22], [0x22, 0xc0, 0x80, 0x22], [0x22, 0xed, 0xa0, 0x80, 0x22], [0x22, 0xf0, 0x9f, 0x98, 0x22], [0x22, 0xf4, 0x90, 0x80, 0x80, 0x22], [0x22, 0xe2, 0x82, 0x22],
  [0x22, 0xc3, 0x28, 0x22], [0xff], [0x31, 0xff], [0xef, 0xbb, 0xbf, 0x31], [0x22, 0x80, 0x80, 0x41, 0x22], [0x22, 0xe0, 0x80, 0x80, 0xf8, 0x88, 0x22]].map((b) => Buffer.from(b))
for (let n = 0; n < 420; n++) inputs.push(text(4))
for (let n = 0; n < 180; n++) {
  // A valid text with one character changed, dropped or doubled.
  const good = text(3)
  const at = random(good.length)
  const bad = [pick(['"', '\\', ',', ':', '[', ']', '{', '}', '0', 'e', '.', '-', ' ', 'u', '\u0000']), '', good[at] + good[at]]
  inputs.push(good.slice(0, at) + pick(bad) + good.slice(at + 1))
}

const documents = [...inputs.map((input) => Buffer.from(input)), ...bytes].map((input) => {
  const entry = { input: hex(input) }
  try {
    const value = JSON.parse(input.toString('utf8'))
    entry.compact = hex(JSON.stringify(value))
    const pretty = hex(JSON.stringify(value, null, 2))
    if (pretty !== entry.compact) entry.pretty = pretty
    const stable = hex(sorted(value))
    if (stable !== entry.compact) entry.sorted = stable
  } catch {}
  return entry
})

const bits = (number) => {
  const view = new DataView(new ArrayBuffer(8))
  view.setFloat64(0, number)
  return view.getBigUint64(0).toString(16).padStart(16, '0')
}
const values = [NaN, Infinity, -Infinity, 0, -0, 1, 1.005, 1.45, 2.5, 0.5, 1.5, -1.5, -0.001, 1e21, 1e20, 123456789012 / 100, 0.000001, 1e-7, 5e-324, 2 ** 53, 10.235, 8.345, -1e-10, 99.995, 1000000000000000128]
for (let n = 0; n < 150; n++) values.push(random(3) ? doubles() : random(2 ** 32) / pick([1, 3, 7, 100, 1000]))
const texts = values.map((number) => ({ bits: bits(number), text: String(number), fixed: [0, 2, 8].map((digits) => number.toFixed(digits)) }))

const strings = ['', ' ', '0', '-0', '+0', '12', ' 12 ', '\u00a012\ufeff', '\u008512', '1e3', '1E3', '1e', '1e+', '1.5', '.5', '5.', '.', '-.5', '+.5e1', '0x10', '0X1f', '-0x10', '0x', '0xg', '0b101', '0b2', '0o17', '0O8', '0b',
  'Infinity', '-Infinity', '+Infinity', 'infinity', 'Infinityx', 'NaN', 'abc', '12abc', '1_000', '1,234.5', '1 2', '--1', '1e400', '-1e400', '1e-400', '9007199254740993', '0x20000000000001', '0x20000000000003', '0xffffffffffffffffffff',
  '0x10000000000000800000', '0x10000000000000800001', '1e21', '123456789012345678901234567890', '1n', '٣', '0.1e-2z', 'e5', '+', '-', '+-1', '0e', '00', '007', '1.2.3', 'z', 'Zz', '7', '8', '-z', '0b11', '1e1000', '\n7\t',
  '11111111111111111111111111111111111111111111111111111111111111111', 'zzzzzzzzzzzzzzzzzzzz']
const parsed = strings.map((text) => ({
  text: hex(text),
  number: bits(Number(text)),
  float: bits(parseFloat(text)),
  int: [undefined, 10, 16, 2, 36, 1, 8].map((radix) => bits(parseInt(text, radix)))
}))

const all = ['\u{1f600}', '\uff5e', '\ue000', '\ud7ff', '\ud800', '\udbff', '\udc00', '\udfff', 'a', 'A', 'b', '', '\u{10000}', '\u{10ffff}', '\uffff', 'é', 'z', '\ud83d', '\ud83da', '\ud83d\ude00b', 'aa', 'a\u{1f600}', 'a\uff5e', 'ａ']
const order = all.sort().map((text) => Array.from({ length: text.length }, (_, i) => text.charCodeAt(i)))

const coerced = ['null', 'true', 'false', '0', '-0', '1e999', '12.50', '""', '" 12 "', '"x"', '[]', '[5]', '["7"]', '[1,2]', '[null]', '[[],[[3]]]', '[null,1,[true,{}]]', '{}', '{"a":1}', '["\\ud83d","\\ude00"]'].map((json) => {
  const value = JSON.parse(json)
  return { json, text: hex(String(value)), number: bits(Number(value)), truthy: !!value, trimmed: hex(String(value).trim()), lower: hex(String(value).toLowerCase()) }
})

const line = (list) => '[\n' + list.map((entry) => JSON.stringify(entry)).join(',\n') + '\n]'
console.log(`{"node":${JSON.stringify(process.version)},"documents":${line(documents)},"numbers":${line(texts)},"strings":${line(parsed)},"order":${line(order)},"coerced":${line(coerced)}}`)
