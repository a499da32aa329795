"""Lines to sing, written for this library (Apache-2.0 like the code), parted so that test songs use unseen words."""

from __future__ import annotations

from harmonia.data.render.speakers import Split

_TRAIN = """
under the silver morning light
I carry the river home
you were a window in the rain
show me the road and I will go
nobody told me how to wait
we are the echo in the hall
hold on to every summer day
a thousand miles of open sea
the city sleeps but I do not
leave me a letter by the door
slowly the shadows learn to dance
my heart is a paper boat
tell me again what the moon said
we built a fire out of snow
all of the colours fade to blue
never let go of my hand
somewhere a train is leaving now
I hear your name in the wind
the garden is growing wild
turn the radio up tonight
nothing is broken, only bent
give me a reason to believe
follow the sound of the bell
oh my love the night is long
we could be dancing in the dark
running along the water line
I will be waiting for the sun
every star is a little lie
take me away from this old town
the winter was kind to us
down by the harbour lights we met
I was a stranger to my own song
keep a candle burning low
lemon trees and yellow roads
maybe tomorrow I will know
who is going to call me home
"""

_TEST = """
open the curtain, let me see
the mountain remembers your voice
rolling along the valley road
I have been dreaming of the rain
silver and gold on a lonely shore
bring me the news of yesterday
we only borrow the morning
love is a room with a broken clock
sing it again for the evening star
nobody knows where the swallows go
over the meadow and over the hill
all that we wanted was more time
"""


def lines(split: Split) -> tuple[str, ...]:
    """The lines of a split.

    Example:
        >>> set(lines("train")) & set(lines("test"))
        set()
    """
    return tuple((_TRAIN if split == "train" else _TEST).split("\n")[1:-1])
