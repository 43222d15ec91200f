// Runs one experiment in its own process, started by run.mjs, and sends the result as one message.
const { experiment, variant, side, quick, inFlight, providerUrl, pgUrl, profileOf } = JSON.parse(process.argv[2])

const { measure, measureSide } = await import(`./experiments/${experiment}.mjs`)
const context = {
  variant,
  side,
  quick,
  inFlight,
  profileOf,
  providerUrl,
  connection: { baseURL: `${providerUrl}/v1`, pgUrl },
}
try {
  const measured = await (side ? measureSide : measure)(context)
  process.send({ measured }, () => process.exit())
} catch (error) {
  const cause = error.cause ? `: ${error.cause.code ?? ''} ${error.cause.message}` : ''
  process.send({ problem: `${error.message}${cause}` }, () => process.exit(1))
}
