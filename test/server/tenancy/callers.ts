import { SCOPES, type Scope } from '../../../src/domain/users/api-key.ts'
import { PEOPLE, type Person, userOf, type World } from './world.ts'

/** Who sends a request, and as whom. */
export interface RowCaller {
  readonly role: string
  /** Absent: nobody, whose requests are all refused with 401. */
  readonly person?: Person
  readonly headers: Readonly<Record<string, string>>
  /** A scope that the key lacks. */
  readonly lacks?: Scope
}

const bearer = (token: string) => ({ authorization: `Bearer ${token}` })
const EXPIRES_AFTER_MS = 40

/** People with their keys, and everybody who only looks like the owner. */
export async function createCallers({ polyphony, keys, keyWith }: World): Promise<readonly RowCaller[]> {
  const { apiKeys } = polyphony
  const revoked = await apiKeys.create(userOf('ada'))
  await apiKeys.verify(revoked.token)
  await apiKeys.revoke(revoked.key.id)
  const expiresAt = new Date(Date.now() + EXPIRES_AFTER_MS)
  const expired = await apiKeys.create(userOf('ada'), { expiresAt })
  await apiKeys.verify(expired.token)
  while (Date.now() <= expiresAt.getTime()) await new Promise((resolve) => setTimeout(resolve, 5))

  const nobody: Record<string, Readonly<Record<string, string>>> = {
    anonymous: {},
    revoked: bearer(revoked.token),
    expired: bearer(expired.token),
    'wrong secret': bearer(`${keys.ada.slice(0, -1)}${keys.ada.endsWith('A') ? 'B' : 'A'}`),
    'secret of another key': bearer(`${keys.ada.slice(0, 20)}${keys.eve.slice(20)}`),
    'made-up token': bearer('eyJhbGciOiJub25lIn0.eyJzdWIiOiJ1c2VyLWFkYSJ9.'),
    'another scheme': { authorization: `Basic ${Buffer.from(`user-ada:${keys.ada}`).toString('base64')}` },
  }
  return [
    ...PEOPLE.map((person) => ({ role: person, person, headers: bearer(keys[person]) })),
    ...Object.entries(nobody).map(([role, headers]) => ({ role, headers })),
    ...(await Promise.all(
      SCOPES.map(async (lacks): Promise<RowCaller> => {
        const scopes = SCOPES.filter((scope) => scope !== lacks)
        return { role: `owner without scope ${lacks}`, person: 'ada', lacks, headers: bearer(await keyWith('ada', scopes)) }
      }),
    )),
  ]
}
