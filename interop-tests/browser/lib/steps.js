'use strict'
// What a person does on the page, and sees.

/** Types the token into the form. */
async function connect (page, { url = null, token }) {
  if (url) await page.getByLabel('Address of the bridge').fill(url)
  await page.getByLabel('Token').fill(token)
  await page.getByRole('button', { name: 'Connect', exact: true }).click()
}

async function join (page, name) {
  await page.getByRole('button', { name: 'Join a room' }).click()
  await page.getByLabel('Name', { exact: true }).fill(name)
  await page.getByRole('button', { name: 'Join', exact: true }).click()
  await page.getByRole('heading', { name, level: 1 }).waitFor()
}

async function say (page, text) {
  await page.getByLabel('Message', { exact: true }).fill(text)
  await page.getByLabel('Message', { exact: true }).press('Enter')
}

async function addExpense (page, { payer, amount, split, note }) {
  await page.getByLabel('Who paid').fill(payer)
  await page.getByLabel('Amount', { exact: true }).fill(amount)
  await page.getByLabel('Split between').fill(split)
  await page.getByLabel('For what').fill(note)
  await page.getByRole('button', { name: 'Add expense' }).click()
}

async function ask (page, line) {
  await page.getByLabel('Assistant', { exact: true }).fill(line)
  await page.getByRole('button', { name: 'Run' }).click()
}

/** Waits until the page shows these balances and payments. */
async function owed (page, balances, payments) {
  const wanted = JSON.stringify([balances, payments])
  try {
    await page.waitForFunction((wanted) => {
      const texts = (selector) => [...document.querySelectorAll(selector)].map((element) => element.innerText.replace(/\s+/g, ' ').trim())
      return JSON.stringify([texts('#balances tr'), texts('#settlements li')]) === wanted
    }, wanted)
  } catch (error) {
    const shown = await page.locator('#ledger').innerText()
    throw new Error('not shown: ' + wanted + '\nbut:\n' + shown, { cause: error })
  }
}

module.exports = { connect, join, say, addExpense, ask, owed }
