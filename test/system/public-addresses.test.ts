import type { LookupAddress } from 'node:dns'
import { expect, test } from 'vitest'
import { createPublicLookup, isLiteralHost, isPublicAddress, type ResolveName } from '../../src/system/public-addresses.ts'

/** Spellings of addresses outside the public Internet, by what they are. */
const REFUSED: Readonly<Record<string, readonly string[]>> = {
  loopback: [
    '127.0.0.1',
    '127.1',
    '127.0.1',
    '127.255.255.254',
    '127.0.0.1.',
    '0x7f.0.0.1',
    '0x7f.1',
    '0X7F000001',
    '0177.0.0.1',
  ],
  'loopback as one number': ['2130706433', '0x7f000001', '017700000001'],
  'loopback in IPv6': ['::1', '[::1]', '0:0:0:0:0:0:0:1', '0000:0000:0000:0000:0000:0000:0000:0001', '::1%lo'],
  'IPv4 inside IPv6': ['::ffff:127.0.0.1', '::ffff:7f00:1', '[::FFFF:10.0.0.1]', '::ffff:a9fe:a9fe', '::127.0.0.1', '::7f00:1'],
  'IPv4 translated': ['::ffff:0:127.0.0.1', '64:ff9b::127.0.0.1', '64:ff9b::a9fe:a9fe', '64:ff9b::10.0.0.1', '64:ff9b:1::7f00:1'],
  tunnels: ['2002:7f00:1::', '2002:a00:1::1', '2001::1', '2001:0:4136:e378:8000:63bf:3fff:fdd2'],
  private: [
    '10.0.0.1',
    '10.1',
    '10.255.255.255',
    '0xa.0.0.1',
    '012.0.0.1',
    '172.16.0.1',
    '172.31.255.255',
    '192.168.0.1',
    '192.168.1',
  ],
  'private in IPv6': ['fc00::1', 'fd00::1', 'fd12:3456:789a::1', 'fec0::1'],
  'link-local': ['169.254.0.1', '169.254.169.254', '2852039166', '0xa9fea9fe', '0251.0376.0251.0376', 'fe80::1', 'fe80::1%eth0'],
  metadata: ['169.254.169.254', 'fd00:ec2::254', '100.100.100.200', '168.63.129.16', '192.0.0.192', '::ffff:168.63.129.16'],
  shared: ['100.64.0.1', '100.127.255.255'],
  unspecified: ['0.0.0.0', '0', '0x0', '::', '[::]', '0.1.2.3'],
  multicast: ['224.0.0.1', '239.255.255.250', 'ff02::1', 'ff0e::1'],
  reserved: [
    '240.0.0.1',
    '255.255.255.255',
    '192.0.0.1',
    '192.0.2.1',
    '198.18.0.1',
    '198.51.100.1',
    '203.0.113.1',
    '192.88.99.1',
  ],
  'reserved in IPv6': ['100::1', '2001:db8::1', '3fff::1', '5f00::1', '4000::1', '1::1', '2001:10::1', '2001:20::1'],
  'no address': [
    '',
    'localhost',
    'example.com',
    '1.2.3.4.5',
    '256.1.1.1',
    '1.2.3.4/8',
    '08.8.8.8',
    ':::1',
    'abc',
    '1.2.3.4:80',
    '٣.٣.٣.٣',
  ],
}

const ACCEPTED = [
  ...['8.8.8.8', '1.1.1.1', '134744072', '0x08080808', '172.15.0.1', '172.32.0.1', '100.63.255.255', '169.253.255.255'],
  ...['2606:4700:4700::1111', '[2001:4860:4860::8888]', '::ffff:8.8.8.8', '64:ff9b::808:808'],
]

test.each(Object.entries(REFUSED))('an address of kind "%s" is not public in any spelling', (_kind, spellings) => {
  expect(spellings.filter(isPublicAddress)).toEqual([])
})

test('an address of the public Internet is public in every spelling', () => {
  expect(ACCEPTED.filter((address) => !isPublicAddress(address))).toEqual([])
})

test('every spelling that a URL accepts for a host is a literal host, and a name is not', () => {
  const hosts = [
    '127.0.0.1',
    '0x7f.1',
    '2130706433',
    '[::1]',
    '[::ffff:127.0.0.1]',
    'localhost',
    'LOCALHOST',
    'localhost.',
    'a.localhost',
  ]
  expect(hosts.filter((host) => !isLiteralHost(new URL(`http://${host}/`).hostname))).toEqual([])
  const names = [
    'example.com',
    'localhost.example.com',
    'notlocalhost',
    '127.0.0.1.nip.io',
    'metadata.google.internal',
    'abc',
    'dead.beef',
  ]
  expect(names.filter((host) => isLiteralHost(new URL(`http://${host}/`).hostname))).toEqual([])
})

/** The result of a lookup of `rebound.example`, whose resolver answers with each list of addresses in turn. */
function lookupOf(...answers: readonly (readonly string[])[]) {
  let calls = 0
  const resolve: ResolveName = (_hostname, _options, callback) => {
    const addresses = answers[Math.min(calls++, answers.length - 1)] ?? []
    callback(
      null,
      addresses.map((address): LookupAddress => ({ address, family: address.includes(':') ? 6 : 4 })),
    )
  }
  const lookup = createPublicLookup(resolve)
  const look = (all: boolean) =>
    new Promise<unknown>((settle) => lookup('rebound.example', { all }, (error, address) => settle(error ? error.code : address)))
  return { look, countCalls: () => calls }
}

test('a name with public addresses resolves to those, as a list or as the first one', async () => {
  const { look } = lookupOf(['8.8.8.8', '2606:4700::1'])
  expect(await look(true)).toEqual([
    { address: '8.8.8.8', family: 4 },
    { address: '2606:4700::1', family: 6 },
  ])
  expect(await look(false)).toBe('8.8.8.8')
})

test('a name with any address that is not public is refused, and so is one without addresses', async () => {
  expect(await lookupOf(['10.0.0.1']).look(true)).toBe('ADDRESS_NOT_PUBLIC')
  expect(await lookupOf(['8.8.8.8', '::1']).look(false)).toBe('ADDRESS_NOT_PUBLIC')
  expect(await lookupOf([]).look(true)).toBe('ADDRESS_NOT_PUBLIC')
})

test('the addresses that are checked are the ones that are returned: a name is resolved once', async () => {
  const { look, countCalls } = lookupOf(['8.8.8.8'], ['127.0.0.1'])
  expect(await look(false)).toBe('8.8.8.8')
  expect(countCalls()).toBe(1)
  expect(await look(false)).toBe('ADDRESS_NOT_PUBLIC')
})
