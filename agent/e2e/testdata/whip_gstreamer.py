"""A WHIP server whose media end is GStreamer's webrtcbin.

Writes "port N" when it listens and "decoded N" for every frame. It answers
one POST, has no PATCH, and ends the session on DELETE.
"""

import http.server
import sys
import time

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import Gst, GstSdp, GstWebRTC  # noqa: E402

Gst.init(None)


def say(line):
    print(line, flush=True)


def describe(kind, text):
    _, message = GstSdp.SDPMessage.new_from_text(text)
    return GstWebRTC.WebRTCSessionDescription.new(kind, message)


class Receiver:
    def __init__(self):
        self.pipeline = Gst.Pipeline.new()
        self.webrtc = Gst.ElementFactory.make("webrtcbin")
        self.webrtc.set_property("bundle-policy", GstWebRTC.WebRTCBundlePolicy.MAX_BUNDLE)
        self.webrtc.connect("pad-added", self.decode)
        self.pipeline.add(self.webrtc)
        self.pipeline.set_state(Gst.State.PLAYING)
        self.frames = 0

    def decode(self, _, pad):
        description = "rtph264depay ! h264parse ! avdec_h264 ! fakesink name=sink signal-handoffs=true sync=false"
        chain = Gst.parse_bin_from_description(description, True)
        chain.get_by_name("sink").connect("handoff", self.count)
        self.pipeline.add(chain)
        chain.sync_state_with_parent()
        pad.link(chain.get_static_pad("sink"))

    def count(self, *_):
        self.frames += 1
        say(f"decoded {self.frames}")

    def call(self, action, *args):
        promise = Gst.Promise.new()
        self.webrtc.emit(action, *args, promise)
        promise.wait()
        return promise.get_reply()

    def answer(self, offer):
        self.call("set-remote-description", describe(GstWebRTC.WebRTCSDPType.OFFER, offer))
        reply = self.call("create-answer", None)  # owns the answer
        answer = reply.get_value("answer").sdp.as_text()
        self.call("set-local-description", describe(GstWebRTC.WebRTCSDPType.ANSWER, answer))
        while self.webrtc.get_property("ice-gathering-state") != GstWebRTC.WebRTCICEGatheringState.COMPLETE:
            time.sleep(0.01)
        return self.webrtc.get_property("local-description").sdp.as_text()


class Handler(http.server.BaseHTTPRequestHandler):
    receiver = None

    def do_POST(self):
        offer = self.rfile.read(int(self.headers["Content-Length"])).decode()
        Handler.receiver = Receiver()
        answer = Handler.receiver.answer(offer).encode()
        self.send_response(201)
        self.send_header("Content-Type", "application/sdp")
        self.send_header("Location", "/session")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def do_PATCH(self):
        self.send_response(405)
        self.end_headers()

    def do_DELETE(self):
        Handler.receiver.pipeline.set_state(Gst.State.NULL)
        say("deleted")
        self.send_response(200)
        self.end_headers()

    def log_message(self, *args):
        print(args[0] % args[1:], file=sys.stderr)


server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
say(f"port {server.server_port}")
server.serve_forever()
