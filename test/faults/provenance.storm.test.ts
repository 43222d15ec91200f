import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { casesOf, SEED } from '../support/scale.ts'
import { unlessHung, watchProcess } from './observation.ts'
import { type Expected, expect2, maySee, type Tag, tagKey } from './provenance-oracle.ts'
import { IN_HOUSE, INSIDE, idOf, type ProvenancePlan, provenancePlan, rerunFrom } from './provenance-plans.ts'
import { type Arrival, canariesIn, openProvenanceWorld, type ProvenanceWorld, type Ran } from './provenance-world.ts'

const FLOWS = Number(process.env.PROVENANCE_FLOWS ?? casesOf(500, 60))
const observed = watchProcess()

let world: ProvenanceWorld
beforeAll(async () => {
  world = await openProvenanceWorld()
})
afterAll(() => world.polyphony.close())

const counts = {
  arrived: 0,
  hops: 0,
  completed: 0,
  denied: 0,
  secondRuns: 0,
  approvals: 0,
  operations: 0,
  tools: 0,
  fellBack: 0,
  sampled: 0,
  inHouse: 0,
}

/** What a canary may be for a run: an answer of an earlier run comes through the conversation, or was carried over. */
function asTags(canary: string, run: number, plan: ProvenancePlan): readonly Tag[] {
  const marked = world.sources.get(canary)
  if (!marked) throw new Error(`unknown ${canary}`)
  const { kind, from } = marked
  if (kind !== 'step_output' || marked.run === run) return [{ kind, from }]
  const isCarried = Number(marked.stepId?.slice(1)) < (rerunFrom(plan) ?? 0)
  return [{ kind: 'conversation_history', from }, ...(isCarried ? [{ kind, from }] : [])]
}

/**
 * A sample that was not chosen, and a call of a tool after which another model answered, are no messages of their own: a
 * later run gets them inside the texts that read them.
 */
function insideOthers(canary: string, plan: ProvenancePlan): ReturnType<typeof asTags> {
  const marked = world.sources.get(canary)
  const step = plan.steps[Number(marked?.stepId?.slice(1))]
  if (marked?.kind !== 'step_output' || !step) return []
  if (step.samples === 1 && !(step.tool && step.refuses === 'afterTool')) return []
  return [{ kind: marked.kind, from: marked.from }]
}

function judgeArrival({ run, stepId, to, canaries }: Arrival, plan: ProvenancePlan): void {
  for (const canary of canaries) {
    const tags = asTags(canary, run, plan)
    counts.arrived++
    if (to === IN_HOUSE && !tags.some((tag) => maySee('alpha', tag, {}))) counts.inHouse++
    if (tags.every(({ kind }) => kind !== 'step_output' && kind !== 'original_prompt') && stepId !== 's0') counts.hops++
    const allowed = tags.some((tag) => maySee(to, tag, plan.policies))
    expect({ run, stepId, to, tags, allowed }).toMatchObject({ allowed: true })
  }
}

function judgeRun(ran: Ran, expected: Expected, plan: ProvenancePlan, run: number): void {
  const last = expected.steps.at(-1)
  const codes = expected.succeeds ? ['none'] : ['DATA_SHARING_DENIED', 'PROVIDER_REJECTED']
  expect(codes).toContain(ran.error?.code ?? 'none')
  if (expected.succeeds) counts.completed++
  if (ran.error?.code === 'DATA_SHARING_DENIED') {
    counts.denied++
    expect(ran.error.details).toMatchObject({
      stepId: idOf(expected.steps.length - 1),
      piece: expect.any(String),
      to: expect.any(String),
    })
  }
  for (const [index, step] of expected.steps.entries()) {
    if (!step.madeFrom) {
      expect(step).toBe(last)
      continue
    }
    const result = ran.steps.find(({ stepId, status }) => stepId === idOf(index) && status === 'SUCCESS')
    expect({ index, origins: result?.origins?.map(tagKey).sort() }).toEqual({ index, origins: [...step.madeFrom.keys()].sort() })
    const drawn = plan.steps[index]
    if (drawn?.approves) counts.approvals++
    else if (drawn?.runs) counts.operations++
    else if (step.madeFrom.has(`tool_result ${drawn?.tool}`)) counts.tools++
    else if (drawn && drawn.samples > 1) counts.sampled++
    else if (result && result.provider !== drawn?.provider) counts.fellBack++
    for (const canary of canariesIn(result?.output ?? '')) {
      const tags = asTags(canary, run, plan)
      // The texts that a step wrote itself are no origins of them.
      if (tags.some(({ kind }) => kind === 'step_output') && world.sources.get(canary)?.stepId === idOf(index)) continue
      const isNamed = [...tags, ...insideOthers(canary, plan)].some((tag) => step.madeFrom?.has(tagKey(tag)))
      expect(isNamed, `${JSON.stringify(tags)} in ${idOf(index)}`).toBe(true)
    }
  }
}

test(`in ${FLOWS} generated flows over several hops every provider gets exactly the texts that the user lets it see`, {
  timeout: 600_000,
}, async () => {
  for (const [index, plan] of fc.sample(provenancePlan, { numRuns: FLOWS, seed: SEED }).entries()) {
    const name = `user-${index}`
    const runs = await unlessHung(world.play(plan, name), name)
    try {
      for (const arrival of world.arrivals) if (!INSIDE.has(arrival.to)) judgeArrival(arrival, plan)
      const expected = expect2(plan)
      expect(runs.length).toBe(expected.length)
      if (runs.length > 1) counts.secondRuns++
      for (const [position, ran] of runs.entries()) {
        const wanted = expected[position]
        if (wanted) judgeRun(ran, wanted, plan, position + 1)
      }
    } catch (error) {
      throw new Error(`plan ${index} of seed ${SEED}: ${JSON.stringify(plan)}`, { cause: error })
    }
  }
  for (const [name, count] of Object.entries(counts)) expect(count, `${name}, seed ${SEED}`).toBeGreaterThan(FLOWS / 25)
  expect(observed.rejections).toEqual([])
})
