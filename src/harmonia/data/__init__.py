"""Data that is here: real data that packages bring, a rendered demo song, and readers of published data-set layouts.

A loader of real data says where they come from and under which licence: ``wine.source.licence``. What is rendered says
so.

    tables      digits, wine, breast_cancer, iris, diabetes, boston, credit_default
    graphs      nations, umls, kinships
    maps        is_land, land_ocean, cities
    scores      chorale, chorale_melodies, lead_sheet, folk_tunes
    photographs photograph
    songs       demo_song, demo_truth;   harmonia.data.render makes more
    digits      demo_digits: eight spoken digits
    sequences   ts_file, bundled_series, spoken_commands; harmonia.data.long_range_arena
    hearts      ptb_xl: electrocardiograms with statements, from a folder that users have on disk
    talk        demo_talk: two people who talk over each other
    traces      synthetic_trace, bank_calls, electricity, fisher: demand of services, for forecasting and scaling
    panels      gapminder, airport_weather, accommodation, coupled_panel, covid_panel, patients
    ratings     load_coat, load_yahoo_r3, load_kuairec: chosen and random ratings that users have on disk
    pictures    mnist, cifar100, mini_imagenet, medmnist, picture_folders: labelled ones that users have on disk
    folders     musdb_hq, musdb_mp4, msst_songs, msst_stems, mir_st500: data sets that users have on disk
"""

from __future__ import annotations

from harmonia.core.lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "LabelledPictures": "labelled_pictures",
        "Panel": "panel",
        "Song": "song",
        "Tune": "tune",
        "accommodation": "panels",
        "airport_weather": "panels",
        "bank_calls": "traces",
        "boston": "tables",
        "coupled_panel": "panels",
        "covid_panel": "panels",
        "credit_default": "tables",
        "breast_cancer": "tables",
        "bundled_series": "labelled_sequences",
        "chorale": "scores",
        "chorale_melodies": "scores",
        "chorale_names": "scores",
        "cifar100": "labelled_pictures",
        "cities": "maps",
        "demo_digits": "spoken",
        "demo_song": "demo",
        "demo_talk": "conversation",
        "demo_truth": "demo",
        "diabetes": "tables",
        "digits": "tables",
        "electricity": "traces",
        "fisher": "traces",
        "folk_tunes": "scores",
        "gapminder": "panels",
        "iris": "tables",
        "is_land": "maps",
        "kinships": "graphs",
        "land_ocean": "maps",
        "lead_sheet": "scores",
        "load_coat": "ratings",
        "load_kuairec": "ratings",
        "load_yahoo_r3": "ratings",
        "medmnist": "labelled_pictures",
        "mini_imagenet": "labelled_pictures",
        "mir_st500": "folders",
        "mnist": "labelled_pictures",
        "msst_songs": "folders",
        "msst_stems": "folders",
        "musdb_hq": "folders",
        "musdb_mp4": "folders",
        "nations": "graphs",
        "patients": "panels",
        "photograph": "photographs",
        "picture_folders": "labelled_pictures",
        "ptb_xl": "electrocardiograms",
        "spoken_commands": "labelled_sequences",
        "ts_file": "labelled_sequences",
        "synthetic_trace": "traces",
        "umls": "graphs",
        "wine": "tables",
    },
)
