import assert from 'node:assert/strict';
import test from 'node:test';
import { addresses, fragment, iceCredentials, restarted } from '../assets/sdp.js';

const lines = (...all) => all.join('\r\n') + '\r\n';

const offer = lines(
  'v=0', 'o=- 1 2 IN IP4 127.0.0.1', 's=-', 't=0 0', 'a=group:BUNDLE 0 1',
  'm=video 9 UDP/TLS/RTP/SAVPF 108', 'a=ice-ufrag:abcd', 'a=ice-pwd:0123456789', 'a=mid:0',
  'm=application 9 UDP/DTLS/SCTP webrtc-datachannel', 'a=ice-ufrag:abcd', 'a=ice-pwd:0123456789', 'a=mid:1',
);

const answer = lines(
  'v=0', 's=-', 'a=group:BUNDLE 1',
  'm=audio 0 UDP/TLS/RTP/SAVPF 0', 'a=mid:0',
  'm=video 9 UDP/TLS/RTP/SAVPF 108', 'a=mid:1', 'a=ice-ufrag:old', 'a=ice-pwd:oldpwd',
  'a=candidate:1 1 udp 2130706431 192.0.2.7 8555 typ host', 'a=end-of-candidates',
  'm=application 9 UDP/DTLS/SCTP webrtc-datachannel', 'a=mid:2', 'a=ice-ufrag:old', 'a=ice-pwd:oldpwd',
);

test('credentials', () => {
  assert.deepEqual(iceCredentials(offer), { ufrag: 'abcd', pwd: '0123456789' });
});

test('candidates go under their media line', () => {
  const candidates = [{ mid: '0', candidate: 'candidate:1' }, { mid: '0', candidate: 'candidate:2' }];
  assert.equal(fragment(offer, candidates, true), lines(
    'a=ice-ufrag:abcd', 'a=ice-pwd:0123456789', 'm=video 9 UDP/TLS/RTP/SAVPF 108', 'a=mid:0',
    'a=candidate:1', 'a=candidate:2', 'a=end-of-candidates',
  ));
});

test('a restart without candidates has credentials and a media line', () => {
  assert.equal(fragment(offer, [], false), lines('a=ice-ufrag:abcd', 'a=ice-pwd:0123456789', 'm=video 9 UDP/TLS/RTP/SAVPF 108', 'a=mid:0'));
});

test('after a restart the answer has the new way in, in the section that is not refused', () => {
  const frag = lines('a=ice-ufrag:new', 'a=ice-pwd:newpwd', 'm=video 9 RTP/AVP 0', 'a=mid:1', 'a=candidate:9 1 tcp 1671430143 192.0.2.8 8555 typ host tcptype passive');
  const after = restarted(answer, frag);
  assert.equal(after, lines(
    'v=0', 's=-', 'a=group:BUNDLE 1',
    'm=audio 0 UDP/TLS/RTP/SAVPF 0', 'a=mid:0',
    'm=video 9 UDP/TLS/RTP/SAVPF 108', 'a=mid:1', 'a=ice-ufrag:new', 'a=ice-pwd:newpwd',
    'a=candidate:9 1 tcp 1671430143 192.0.2.8 8555 typ host tcptype passive',
    'm=application 9 UDP/DTLS/SCTP webrtc-datachannel', 'a=mid:2', 'a=ice-ufrag:new', 'a=ice-pwd:newpwd',
  ));
});

test('addresses for people', () => {
  const ipv6 = 'a=candidate:2 1 udp 1 2001:db8::1 8555 typ host\r\n';
  assert.deepEqual(addresses(answer + ipv6 + ipv6), ['192.0.2.7:8555', '[2001:db8::1]:8555']);
  assert.deepEqual(addresses(''), []);
});
